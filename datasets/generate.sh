#!/bin/sh
# Makes the data sets of this folder; run it from the repository root. A run that is stopped is
# continued by running it again.
set -e
pdeml generate burgers --samples 48 --seed 0 --vary nu=0.01:0.1:log --resolution 128 --frames 26 \
    --dt 0.001 --split 0.75,0.125,0.125 --deterministic --resume --out datasets/burgers.h5
pdeml generate kuramoto_sivashinsky --set length=50.26548245743669 --set duration=100 \
    --samples 32 --seed 0 --resolution 128 --frames 101 --dt 0.125 --split 0.75,0.125,0.125 \
    --deterministic --resume --out datasets/kuramoto_sivashinsky.h5
pdeml generate navier_stokes_vorticity --set nu=0.0005 --set duration=10 --samples 16 --seed 0 \
    --resolution 64 --frames 11 --dt 0.02 --split 0.75,0.125,0.125 --deterministic --resume \
    --out datasets/vorticity.h5
