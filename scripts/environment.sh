# Sourced by quickstart.sh and test.sh: makes .venv beside the repository's files and installs the package
# into it, once. Later runs reuse it unless pyproject.toml has changed. PYTHON names the interpreter, 3.11 or
# later.
cd "$(dirname "${BASH_SOURCE[0]}")/.."

find_python() {
  local name recent='import sys; sys.exit(sys.version_info < (3, 11))'
  for name in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11 python; do
    if command -v "$name" >/dev/null && "$name" -c "$recent" 2>/dev/null; then
      echo "$name"
      return
    fi
  done
  echo "Python 3.11 or later is needed; name it with PYTHON=/path/to/python3" >&2
  return 1
}

# need_space GIGABYTES FOLDER...: stops before anything is written where a folder has less free space than that
need_space() {
  local gigabytes=$1 folder free
  shift
  for folder in "$@"; do
    free=$(df -Pk "$folder" | awk 'NR == 2 { print int($4 / 1000000) }')
    if [ "$free" -lt "$gigabytes" ]; then
      echo "installing torch takes $gigabytes GB for a while, and $folder has $free GB free:" \
        "free some space, or move TMPDIR and the repository" >&2
      return 1
    fi
  done
}

# make_environment EXTRAS: the virtual environment with the package and the named extras
make_environment() {
  local extras=$1 stamp
  stamp="$(cksum < pyproject.toml) $extras"
  if ! grep -qxF "$stamp" .venv/installed 2>/dev/null; then
    local python
    python=$(find_python)
    .venv/bin/python -c 'import torch' 2>/dev/null || need_space 9 . "${TMPDIR:-/tmp}"
    .venv/bin/python -m pip --version >/dev/null 2>&1 || "$python" -m venv .venv
    echo "installing into .venv (a few minutes the first time) …"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[$extras]"
    echo "$stamp" >> .venv/installed
  fi
}
