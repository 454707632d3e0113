#!/bin/sh
# Makes sure that tools work: need.sh TOOL...   (c++, valgrind, pkg-config, venv)
# Installs missing tools when it runs as root and apt-get is there. Otherwise it prints the command to run.
set -eu

python=${PYTHON:-python3}

# A tool must work; a file of its name is not enough. Valgrind, for example, needs libc's symbols.
works() {
    case $1 in
    c++) echo 'int main() {}' | "${CXX:-c++}" -x c++ -fsyntax-only - ;;
    valgrind) valgrind -q true ;;
    pkg-config) pkg-config --version ;;
    venv) "$python" -c 'import ensurepip, venv' ;;
    esac >/dev/null 2>&1
}

packages_of() {
    case $1 in
    c++) echo g++ ;;
    valgrind) echo valgrind libc6-dbg ;;
    pkg-config) echo pkg-config ;;
    venv) echo python3-venv ;;
    *) echo "need.sh: unknown tool \"$1\"" >&2 && exit 2 ;;
    esac
}

missing= packages=
for tool; do
    of_tool=$(packages_of "$tool")
    if ! works "$tool"; then
        missing="$missing $tool" packages="$packages $of_tool"
    fi
done
[ -n "$missing" ] || exit 0

install="apt-get install --yes --no-install-recommends$packages"
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "missing:$missing. Please run this command as root, and then make again:" >&2
    echo "    apt-get update && $install" >&2
    exit 1
fi
echo "missing:$missing; installing$packages"
DEBIAN_FRONTEND=noninteractive
export DEBIAN_FRONTEND
apt-get update -qq </dev/null
# shellcheck disable=SC2086  # the packages are separate words
$install -qq </dev/null >/dev/null
for tool in $missing; do
    works "$tool" || { echo "installed$packages, but $tool still does not work" >&2 && exit 1; }
done
