#!/bin/sh
# CONTEXT TAG [options of docker build]: builds an image and loads it into the cluster that `kind` made.
set -eu
context=$1 tag=$2
shift 2
docker build --quiet --tag "$tag" "$@" "$context" >/dev/null
kind load docker-image --quiet "$tag"
