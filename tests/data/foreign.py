"""Small files of every foreign layout, written as its documentation says, all axes of another size.

Each function writes one file (or folder) and gives its path with the arrays that must be read,
(samples, times, channels, *space) by field.
"""

import json

import h5py
import numpy as np
import scipy.io

N, T, X, Y, Z = 5, 4, 7, 11, 3
x, y, z = np.linspace(0, 1, X), np.linspace(0, 2, Y), np.linspace(-1, 1, Z)
t = np.linspace(0, 0.6, T)
SPACE = {"x": x, "y": y, "z": z}


def values(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(dtype)


def pdebench_a(folder):
    u = values(N, T, X)
    with h5py.File(folder / "1D_Burgers_Sols_Nu0.01.hdf5", "w") as file:
        file["tensor"], file["x-coordinate"] = u, x.astype(np.float32)
        file["t-coordinate"] = np.append(t, 0.8).astype(np.float32)  # one longer than the frames
        file.attrs["Nu"] = np.float32(0.01)
    return folder / "1D_Burgers_Sols_Nu0.01.hdf5", {"tensor": u[:, :, None]}


def pdebench_b(folder):
    nu, u = values(N, X, Y), values(N, 1, X, Y, seed=1)
    with h5py.File(folder / "b.hdf5", "w") as file:
        file["nu"], file["tensor"], file["x-coordinate"], file["y-coordinate"] = nu, u, x, y
        file.attrs["beta"] = 1.0
    return folder / "b.hdf5", {"nu": nu[:, None, None], "tensor": u[:, None]}


def pdebench_c(folder):
    arrays = {n: values(N, T, X, Y, Z, seed=k) for k, n in enumerate(("Vx", "Vy", "Vz"))}
    arrays = {
        "density": values(N, T, X, Y, Z, seed=8),
        "pressure": values(N, T, X, Y, Z, seed=9),
    } | arrays
    with h5py.File(folder / "c.h5", "w") as file:
        for name, array in arrays.items():
            file[name] = array
        for name, points in SPACE.items():
            file[f"{name}-coordinate"] = points
        file["t-coordinate"] = np.append(t, 0.8)
        file.attrs.update(eta=0.1, zeta=0.2, M=1.0)
    return folder / "c.h5", {n: a[:, :, None] for n, a in arrays.items()}


def pdebench_d(folder):
    data = values(N, T, X, Y, 2)
    with h5py.File(folder / "d.h5", "w") as file:
        for seed in range(N):
            group = file.create_group(f"{seed:04d}")
            group.create_dataset("data", data=data[seed], compression="lzf")
            group["grid/x"], group["grid/y"], group["grid/t"] = x, y, t
            group.attrs["config"] = "sim:\n  k: 0.005\n"
    return folder / "d.h5", {"data": np.moveaxis(data, -1, 2)}


def pdebench_e(folder):
    velocity, particles = values(N, T, X, Y, 2), values(N, T, X, Y, 1, seed=1)
    force = values(N, X, Y, 2, seed=2)
    with h5py.File(folder / "e.h5", "w") as file:
        options = {"compression": "lzf", "shuffle": True}
        file.create_dataset("velocity", data=velocity, chunks=(1, 1, X, Y, 2), **options)
        file.create_dataset("particles", data=particles, chunks=(1, 1, X, Y, 1), **options)
        file["force"], file["t"] = force, np.tile(t, (N, 1))
        file.attrs.update(config="viscosity: 0.01", latestIndex=4)
    expected = {"velocity": velocity, "particles": particles, "force": force[:, None]}
    return folder / "e.h5", {n: np.moveaxis(a, -1, 2) for n, a in expected.items()}


def pdebench_f(folder):
    arrays = {f"omega_{a}": values(N, T, X, Y, Z, seed=k) for k, a in enumerate("xyz")}
    with h5py.File(folder / "f.h5", "w") as file:
        for name, array in arrays.items():
            file[name] = array
    return folder / "f.h5", {n: a[:, :, None] for n, a in arrays.items()}


def well(folder, name="well.hdf5", samples=N, seed=0, alpha=0.5):
    """All ranks of fields, one without samples, one without time, one constant along x."""
    arrays = {
        "t0_fields/density": values(samples, T, X, Y, seed=seed),
        "t0_fields/height": values(samples, X, Y, seed=seed + 1),
        "t0_fields/profile": values(Y, seed=2),
        "t1_fields/velocity": values(samples, T, X, Y, 2, seed=seed + 3),
        "t2_fields/stress": values(samples, T, X, Y, 2, 2, seed=seed + 4),
    }
    flags = {"height": (True, False, [True, True]), "profile": (False, False, [False, True])}
    with h5py.File(folder / name, "w") as file:
        file.attrs.update(
            dataset_name="flow", grid_type="cartesian", n_spatial_dims=2, n_trajectories=samples,
            simulation_parameters=["alpha"], alpha=alpha,
        )  # fmt: skip
        for key, array in arrays.items():
            data = file.create_dataset(key, data=array)
            by_sample, by_time, dims = flags.get(key.split("/")[1], (True, True, [True, True]))
            data.attrs.update(
                sample_varying=by_sample, time_varying=by_time, dim_varying=np.array(dims)
            )
            if key.startswith("t2"):
                data.attrs.update(symmetric=False, antisymmetric=False)
        for group in ("t0_fields", "t1_fields", "t2_fields"):
            file[group].attrs["field_names"] = [
                n.split("/")[1] for n in arrays if n.startswith(group)
            ]
        dimensions = file.create_group("dimensions")
        dimensions.attrs["spatial_dims"] = ["x", "y"]
        for axis, points in (("time", t), ("x", x), ("y", y)):
            dimensions[axis] = points.astype(np.float32)
            dimensions[axis].attrs.update(sample_varying=False, time_varying=False)
        scalars = file.create_group("scalars")
        scalars.attrs["field_names"] = ["nu", "forcing"]
        scalars["nu"], scalars["forcing"] = np.arange(samples) * 0.1, t
        scalars["nu"].attrs.update(sample_varying=True, time_varying=False)
        scalars["forcing"].attrs.update(sample_varying=False, time_varying=True)
        for axis, size, kind in (("x", X, "PERIODIC"), ("y", Y, "WALL")):
            boundary = file.create_group(f"boundary_conditions/{axis}_{kind.lower()}")
            boundary.attrs.update(
                associated_dims=[axis], associated_fields=h5py.Empty("S1"), bc_type=kind,
                sample_varying=False, time_varying=False,
            )  # fmt: skip
            boundary["mask"] = np.eye(size, dtype=bool)[0]
            boundary["mask"].attrs.update(sample_varying=False, time_varying=False)
    expected = {name.split("/")[1]: array for name, array in arrays.items()}
    shape = (samples, 1, 1, X, Y)
    expected["profile"] = np.broadcast_to(expected["profile"], shape)
    expected["height"] = expected["height"][:, None, None]
    expected["density"] = expected["density"][:, :, None]
    expected["velocity"] = np.moveaxis(expected["velocity"], -1, 2)
    expected["stress"] = np.moveaxis(expected["stress"].reshape(samples, T, X, Y, 4), -1, 2)
    return folder / name, expected


def well_folder(folder):
    (base := folder / "flow").mkdir()
    parts = []
    for k, (part, samples) in enumerate((("train", 4), ("valid", 1), ("test", 2))):
        (base / "data" / part).mkdir(parents=True)
        for number in range(2 if part == "train" else 1):
            name = f"flow_{number}.hdf5"
            seed = 100 * k + 50 * number
            parts.append(well(base / "data" / part, name, samples, seed, alpha=float(seed))[1])
    expected = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
    return base, expected


def fno_fields():
    return values(N, X, Y, dtype=np.float64), values(N, X, Y, T, seed=1, dtype=np.float64)


def fno_expected(a, u):
    return {"a": a[:, None, None], "u": np.moveaxis(u, -1, 1)[:, :, None]}


def fno_5(folder):
    a, u = fno_fields()
    content = {"a": a, "u": u, "t": t[None], "name": "NS", "cell": np.array([1, "b"], dtype=object)}
    scipy.io.savemat(folder / "fno5.mat", content)
    return folder / "fno5.mat", fno_expected(a, u)


def fno_5_compressed(folder):
    a, u = fno_fields()
    scipy.io.savemat(folder / "fno5z.mat", {"a": a, "u": u, "t": t[None]}, do_compression=True)
    return folder / "fno5z.mat", fno_expected(a, u)


def matlab_73(path, **arrays):
    """As MATLAB does: a user block, axes reversed, cells as references into #refs#."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            file[name] = np.asarray(array).T
            kind = {"f": "single", "d": "double"}[np.asarray(array).dtype.char]
            file[name].attrs["MATLAB_class"] = np.bytes_(kind)
        letters = file.create_dataset("#refs#/b", data=np.array([[78], [83]], np.uint16))
        letters.attrs["MATLAB_class"] = np.bytes_("char")
        file.create_dataset("names", data=np.array([[letters.ref]]), dtype=h5py.ref_dtype)
        file["names"].attrs["MATLAB_class"] = np.bytes_("cell")
        info = file.create_group("info")
        info.attrs["MATLAB_class"] = np.bytes_("struct")
        letters = np.empty(1, object)
        letters[0] = np.frombuffer(b"nu", "S1")
        info.attrs.create("MATLAB_fields", letters, dtype=h5py.vlen_dtype(np.dtype("S1")))
    with path.open("rb+") as plain:
        plain.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\0\x02IM")
    return path


def fno_73(folder):
    a, u = fno_fields()
    path = matlab_73(
        folder / "fno73.mat", a=a.astype(np.float32), u=u.astype(np.float32), t=t[None]
    )
    return path, {n: v.astype(np.float32) for n, v in fno_expected(a, u).items()}


def darcy(folder):
    coefficient, solution = values(N, X, Y), values(N, X, Y, seed=1)
    scipy.io.savemat(folder / "darcy.mat", {"coeff": coefficient, "sol": solution})
    return folder / "darcy.mat", {
        "coeff": coefficient[:, None, None],
        "sol": solution[:, None, None],
    }


def mno(folder):
    u = values(N, T, X, X)
    np.save(folder / "mno.npy", u)
    return folder / "mno.npy", {"u": u[:, :, None]}


def apebench(folder):
    train, test = values(N, T, 2, X, Y), values(3, T, 2, X, Y, seed=1)
    info = {"num_points": X, "domain_extent": 2.0, "dt": 0.25, "num_spatial_dims": 2}
    (folder / "ape.json").write_text(json.dumps({"name": "ape", "info": info}))
    np.save(folder / "ape_train.npy", train), np.save(folder / "ape_test.npy", test)
    return folder / "ape.json", {"u": np.concatenate([train, test])}


def deepxde_aligned(folder):
    branch, trunk, solution = values(N, Z), x[:, None].astype(np.float32), values(N, X, seed=1)
    pair = np.empty(2, object)
    pair[0], pair[1] = branch, trunk
    np.savez(folder / "aligned.npz", X=pair, y=solution)
    return folder / "aligned.npz", {"y": solution[:, None, None]}


def deepxde_plain(folder):
    """The same without objects, on points in the plane."""
    points, solution = values(X, 2), values(N, X, seed=1)
    np.savez(folder / "plain.npz", X_train0=values(N, Z), X_train1=points, y_train=solution)
    return folder / "plain.npz", {"y": solution[:, None, None]}


def deepxde_unaligned(folder):
    arrays = {}
    for part, count in (("train", 6), ("test", 4)):
        arrays |= {f"X_{part}0": values(count, Z), f"X_{part}1": values(count, 1, seed=1)}
        arrays[f"y_{part}"] = values(count, 1, seed=2)
    np.savez(folder / "unaligned.npz", **arrays)
    both = np.concatenate([arrays["y_train"], arrays["y_test"]])
    return folder / "unaligned.npz", {"y": both[:, None, None]}


def deepxde_npz(folder):
    solution = values(X, T, dtype=np.float64)
    np.savez(folder / "Burgers.npz", t=t[:, None], x=x[:, None], usol=solution)
    return folder / "Burgers.npz", {"usol": solution.T[None, :, None]}


def deepxde_mat(folder):
    solution = values(T, X, dtype=np.float64)
    scipy.io.savemat(folder / "Allen_Cahn.mat", {"t": t[None], "x": x[None], "u": solution})
    return folder / "Allen_Cahn.mat", {"u": solution[None, :, None]}


def cylinder(folder):
    velocity, pressure = values(Y, 2, T, dtype=np.float64), values(Y, T, dtype=np.float64)
    content = {
        "U_star": velocity,
        "p_star": pressure,
        "t": t[:, None],
        "X_star": values(Y, 2, seed=3),
    }
    scipy.io.savemat(folder / "cylinder.mat", content)
    expected = {"U_star": velocity.transpose(2, 1, 0)[None], "p_star": pressure.T[None, :, None]}
    return folder / "cylinder.mat", expected


LAYOUTS = {
    "PDEBench A": pdebench_a,
    "PDEBench B": pdebench_b,
    "PDEBench C": pdebench_c,
    "PDEBench D": pdebench_d,
    "PDEBench E": pdebench_e,
    "PDEBench F": pdebench_f,
    "The Well": well,
    "The Well (folder)": well_folder,
    "FNO, MATLAB 5": fno_5,
    "FNO, MATLAB 5 compressed": fno_5_compressed,
    "FNO, MATLAB 7.3": fno_73,
    "FNO Darcy": darcy,
    "MNO": mno,
    "APEBench": apebench,
    "DeepXDE aligned": deepxde_plain,
    "DeepXDE unaligned": deepxde_unaligned,
    "DeepXDE solution, npz": deepxde_npz,
    "DeepXDE solution, mat": deepxde_mat,
    "DeepXDE scattered solution": cylinder,
}
