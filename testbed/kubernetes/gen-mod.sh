#!/bin/bash
# Writes go.mod and go.sum anew, to change versions:  K8S=v1.37.0 HELM=v3.22.0 ./gen-mod.sh
#
# k8s.io/kubernetes is not made to be imported: its go.mod points to the modules k8s.io/api, k8s.io/client-go, ...
# by folders of its own repository. Each of them is published as v0.N.P beside v1.N.P; say so for every one.
set -euo pipefail
cd "$(dirname "$0")"
kubernetes=${K8S:-v1.36.3}
helm=${HELM:-v3.21.4}
staging=v0.${kubernetes#v1.}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
upstream=$(
  cd "$scratch"
  printf 'module scratch\n' > go.mod
  go mod download -json "k8s.io/kubernetes@$kubernetes" | sed -n 's/.*"GoMod": "\(.*\)".*/\1/p'
)
{
  printf 'module vmferry.dev/testbed/controlplane\n\n'
  sed -n -e '/^go [0-9]/p' -e '/^godebug /p' "$upstream"
  printf '\nrequire k8s.io/kubernetes %s\n' "$kubernetes"
  printf 'require helm.sh/helm/v3 %s\n\n' "$helm"
  printf 'tool helm.sh/helm/v3/cmd/helm\n\n'
  printf 'replace (\n'
  sed -n 's#^\t\(k8s.io/[a-z0-9-]*\) => \./staging/.*#\t\1 => \1 '"$staging"'#p' "$upstream"
  printf ')\n'
} > "$scratch/new.mod"
mv "$scratch/new.mod" go.mod
rm -f go.sum
go mod tidy
