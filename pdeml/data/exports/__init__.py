"""Layouts that data sets are written in, one file each."""
