#!/bin/sh
# gitmedic's update hook for the bare ops repository: runs for every ref that somebody pushes.
# Claims are what keeps a run from starting twice; the base branch is what people approved.
set -eu
ref=$1 old=$2 new=$3

refuse() {
    echo "gitmedic: $1" >&2
    exit 1
}

is_zero() {
    case "$1" in *[!0]*) return 1 ;; *) return 0 ;; esac
}

case "@MIRROR@$ref" in
yesrefs/heads/* | yesrefs/tags/*) refuse "this is a mirror: push $ref to the forge instead" ;;
esac

case "$ref" in
refs/gitmedic/claims/*)
    is_zero "$old" || refuse "$ref is a claim: it is never moved and never deleted"
    is_zero "$new" && refuse "$ref is a claim: it is never deleted"
    ;;
refs/gitmedic/*)
    refuse "$ref is gitmedic's own: it is never pushed, moved or deleted"
    ;;
refs/replace/*)
    refuse "$ref would show other bytes under an approved id"
    ;;
refs/heads/@BASE@)
    is_zero "$new" && refuse "$ref is the ops repository: it is never deleted"
    is_zero "$old" || [ "$(git merge-base "$old" "$new" || true)" = "$old" ] ||
        refuse "$ref only moves forward: fetch, rebase your commits onto it and push again"
    ;;
esac
exit 0
