#!/bin/sh
# Checks and times Lamina's kernels on this machine's GPU: sh run.sh [--golden DIR] [--allow-software] > result.json
# Needs x86-64 Linux with glibc 2.28 or newer and a Vulkan driver; nothing is installed, nothing is written.
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)

# Drivers do not always bring the Vulkan loader with them.
if ! ldconfig -p 2>/dev/null | grep -q libvulkan.so.1; then
  LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$here/lib
  export LD_LIBRARY_PATH
fi

# Containers often have NVIDIA's driver without the file that tells the loader about it.
if [ -z "$VK_DRIVER_FILES$VK_ICD_FILENAMES" ] && ldconfig -p 2>/dev/null | grep -q libGLX_nvidia.so.0 &&
  ! ls /etc/vulkan/icd.d/*.json /usr/share/vulkan/icd.d/*.json >/dev/null 2>&1; then
  VK_DRIVER_FILES=$here/lib/nvidia_icd.json
  export VK_DRIVER_FILES
fi

exec "$here/node" "$here/self-test.js" "$@"
