#!/bin/sh
# Checks and times Lamina's kernels on this machine's GPU: sh run.sh [--golden DIR] [--allow-software] > result.json
# Needs x86-64 Linux with glibc 2.28 or newer and a Vulkan driver; nothing is installed, nothing is written.
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)

# Drivers do not always bring the Vulkan loader with them.
if ! PATH=$PATH:/usr/sbin:/sbin ldconfig -p 2>/dev/null | grep -q libvulkan.so.1; then
  LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$here/lib
  export LD_LIBRARY_PATH
fi

exec "$here/node" "$here/self-test.js" "$@"
