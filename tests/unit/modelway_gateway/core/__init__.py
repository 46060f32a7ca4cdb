"""Tests of the gateway's pure core: plain values in, plain values out."""
