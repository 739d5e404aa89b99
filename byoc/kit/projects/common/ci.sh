#!/bin/sh
# What a CI job runs, in this folder, in an environment that has tvm-byoc: no index is asked.
set -e
python -m pip install --no-build-isolation --no-deps .
byoc vendors
byoc conformance acme --junit conformance.xml
