# Sourced by the scripts that take packages from a version of Debian that need not be this machine's,
# to unpack them into a folder: without root, and without touching apt's own state.
#
# DEBIAN_SOURCES  a file with lines for apt, to use instead of this machine's mirrors of Debian.

# debian VERSION DIR: fetches the lists of a version, such as bookworm, into DIR, which must exist;
# sets apt_options, with which apt-get and apt-cache work on them.
debian() {
    local version=$1 dir=$2 label uri
    local signed='[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]'
    command -v apt-get >/dev/null || {
        echo "$0: missing: apt-get, for packages of Debian $version" >&2
        return 1
    }
    mkdir -p "$dir"/apt/{lists,archives}/partial
    if [[ -n ${DEBIAN_SOURCES:-} ]]; then
        cp "$DEBIAN_SOURCES" "$dir/apt/sources.list"
    else
        apt-get indextargets --format '$(ORIGIN)/$(LABEL) $(REPO_URI)' 'Created-By: Packages' |
            sort -u | while read -r label uri; do
            case $label in
            Debian/Debian) echo "deb $signed $uri $version main" ;;
            Debian/Debian-Security) echo "deb $signed $uri $version-security main" ;;
            esac
        done >"$dir/apt/sources.list"
    fi
    [[ -s $dir/apt/sources.list ]] || {
        echo "$0: apt knows no mirror of Debian: run apt-get update, or set DEBIAN_SOURCES" >&2
        return 1
    }
    # Whatever else is configured, a proxy for one, holds as it does for the machine's own packages.
    apt_options=(
        --option "Dir::Etc::SourceList=$dir/apt/sources.list" --option Dir::Etc::SourceParts=/dev/null
        --option Dir::Etc::Preferences=/dev/null --option Dir::Etc::PreferencesParts=/dev/null
        --option "Dir::State::Lists=$dir/apt/lists" --option Dir::State::Status=/dev/null
        --option "Dir::Cache=$dir/apt" --option APT::Architecture=amd64
        --option "APT::Sandbox::User=$(id --user --name)"
        --option Acquire::Languages=none --option Acquire::Retries=3 --option quiet=2
    )
    apt-get "${apt_options[@]}" update
}
