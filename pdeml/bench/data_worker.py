"""Runs with an interpreter that has the_well: reads windows of a file by its own data set.

    python data_worker.py FILE T_IN T_OUT REPEATS INDICES.json OUTPUT.npz

Prints JSON: seconds of each pass over the indices, and versions.
"""

import json
import sys
import time


def main() -> None:
    path, t_in, t_out, repeats, indices, output = sys.argv[1:]
    import numpy as np
    import the_well
    import torch
    from the_well.data import WellDataset

    torch.set_num_threads(1)
    with open(indices) as file:
        chosen = json.load(file)
    dataset = WellDataset(
        path=path,
        n_steps_input=int(t_in),
        n_steps_output=int(t_out),
        use_normalization=False,
    )
    seconds = []
    for _ in range(int(repeats)):
        begin = time.perf_counter()
        items = [dataset[i] for i in chosen]
        seconds.append(time.perf_counter() - begin)
    np.savez(
        output,
        input=np.stack([item["input_fields"].numpy() for item in items[:8]]),
        output=np.stack([item["output_fields"].numpy() for item in items[:8]]),
    )
    version = getattr(the_well, "__version__", None)
    print(json.dumps({"seconds": seconds, "length": len(dataset), "the_well": version}))


main()
