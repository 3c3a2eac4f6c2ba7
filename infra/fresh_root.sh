#!/usr/bin/env bash
# infra/fresh_root.sh DIR COMMAND...
#
# Run a command as on a machine that nobody has prepared: in a minimal Debian root with python3, python3-venv, git and make, with an
# empty home and an empty environment, in /project, a clone of this checkout's HEAD. Needs root and debootstrap.
#
#   KEEP=1        go on in the root of the run before, instead of a new one
#   OFFLINE=1     no network but a loopback interface of its own
#   SUITE=trixie  another Debian release (trixie has python3.13); default: this machine's
#   MIRROR=URL    where debootstrap downloads from; default: the first archive that apt is set up with
#
# DIR/base-SUITE is made once and copied to DIR/root-SUITE for each run. pip's settings on this machine (environment and /etc/pip.conf) hold
# inside too, with the local folders they name read-only; nothing else of the machine is visible. All of it runs in mount, process
# and IPC namespaces of its own: when the command or this script ends, even by SIGKILL, processes and mounts are gone.
set -euo pipefail

refuse() { echo "fresh_root.sh: $*" >&2; exit 2; }

main() {
  [ $# -ge 2 ] || refuse "usage: infra/fresh_root.sh DIR COMMAND..."
  [ "$(id -u)" = 0 ] || refuse "debootstrap, mount and chroot need the rights of root: run it with sudo"
  local dir suite
  dir=$(mkdir -p "$1" && cd "$1" && pwd)
  suite=${SUITE:-$(. /etc/os-release && echo "${VERSION_CODENAME:-}")}
  [ -n "$suite" ] || refuse "this machine's Debian release is not known: set SUITE"
  exec 9>"$dir/.lock"
  flock --nonblock 9 || refuse "another run uses $dir"
  make_base "$dir/base-$suite" "$suite"
  if [ -z "${KEEP:-}" ] || [ ! -d "$dir/root-$suite/project" ]; then make_root "$dir/base-$suite" "$dir/root-$suite"; fi
  shift
  local isolate=(unshare --mount --pid --ipc --fork --kill-child)
  if [ -n "${OFFLINE:-}" ]; then isolate+=(--net); fi
  # In the background, since bash acts on a signal only between commands; the end of this process ends unshare and so everything.
  setpriv --pdeathsig KILL "${isolate[@]}" bash "$0" --inside "$dir/root-$suite" "$@" <&0 9>&- &
  local child=$!
  trap 'kill -KILL $child' INT TERM HUP
  wait "$child"
}

make_base() { # BASE SUITE
  local base=$1 suite=$2 mirror log=$1.log
  if [ -e "$base/.done" ]; then return; fi
  command -v debootstrap >/dev/null || refuse "debootstrap is missing: apt-get install debootstrap"
  mirror=${MIRROR:-$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | sed -n 1p)}
  rm -rf --one-file-system "$base"
  debootstrap --variant=minbase --include=python3,python3-venv,git,make,ca-certificates "$suite" "$base" "$mirror" >"$log" 2>&1 ||
    { tail -n 5 "$log" >&2; refuse "debootstrap failed; its log is $log"; }
  rm -f "$base"/var/cache/apt/archives/*.deb
  touch "$base/.done"
}

make_root() { # BASE ROOT
  rm -rf --one-file-system "$2"
  cp -a "$1" "$2"
  git clone -q "$(git -C "$(dirname "$0")" rev-parse --show-toplevel)" "$2/project"
  mkdir -p "$2/root/new-home" "$2/etc"
  printf '127.0.0.1 localhost\n127.0.1.1 %s\n' "$(uname -n)" >"$2/etc/hosts" # as Debian's installer does, and debootstrap does not
  local file
  for file in /etc/pip.conf /etc/resolv.conf "${PIP_CERT:-}" "${SSL_CERT_FILE:-}" "${REQUESTS_CA_BUNDLE:-}"; do
    if [ -f "$file" ]; then mkdir -p "$2$(dirname "$file")" && cp -L "$file" "$2$file"; fi
  done
}

mount_devices() { # ROOT
  local node
  mount -t tmpfs -o mode=755 dev "$1/dev"
  for node in null zero full random urandom tty; do touch "$1/dev/$node" && mount --bind "/dev/$node" "$1/dev/$node"; done
  for node in /dev/nvidia*; do # a GPU, where there is one
    if [ -c "$node" ]; then touch "$1$node" && mount --bind "$node" "$1$node"; fi
  done
  mkdir "$1/dev/pts" "$1/dev/shm"
  mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts "$1/dev/pts"
  mount -t tmpfs -o mode=1777 shm "$1/dev/shm"
  ln -s pts/ptmx "$1/dev/ptmx"
  ln -s /proc/self/fd "$1/dev/fd"
  ln -s fd/0 "$1/dev/stdin" && ln -s fd/1 "$1/dev/stdout" && ln -s fd/2 "$1/dev/stderr"
}

inside() { # ROOT COMMAND...; process 1 of its namespace: bash collects the processes whose parents have ended
  local root=$1 place keep=() name
  shift
  mount -t proc proc "$root/proc"
  mount -t sysfs -o ro sysfs "$root/sys"
  mount_devices "$root"
  for place in ${PIP_FIND_LINKS:-} $(grep -ohE 'file://[^ ]+' /etc/pip.conf 2>/dev/null || true); do
    place=${place#file://}
    if [ -d "$place" ]; then mkdir -p "$root$place" && mount --bind -o ro "$place" "$root$place"; fi
  done
  while IFS= read -r name; do keep+=("$name=${!name}"); done < <(compgen -e | grep -E '^(PIP_[A-Z_]+|SSL_CERT_FILE|REQUESTS_CA_BUNDLE)$')
  local enter=(env -i "${keep[@]}" HOME=/root/new-home LANG=C.UTF-8 TERM="${TERM:-dumb}"
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin chroot "$root")
  if [ -n "${OFFLINE:-}" ]; then # SIOCSIFFLAGS on lo: IFF_UP | IFF_RUNNING
    "${enter[@]}" python3 -c "import fcntl, socket, struct
fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sh14x', b'lo', 0x41))"
  fi
  "${enter[@]}" bash -c 'cd /project && exec "$@"' fresh "$@"
}

{ # read as a whole, so that a change of this file does not change what is running
  if [ "${1:-}" = --inside ]; then
    shift
    inside "$@"
  else
    main "$@"
  fi
  exit
}
