#!/bin/bash
# install-deps.sh build|run|test -- the Debian packages that building, `make run` or `make test` needs; installs only
# what is missing, and asks apt nothing when everything is there.
#
#   build   compiler, OpenSSL and Cyrus SASL with headers
#   run     the above, and what makes the demo's certificate and password and reads its mail
#   test    the above, and the peers of the interoperability tests: Debian's own Cyrus, mbsync, offlineimap, mutt,
#           neomutt, two IMAP modules of Perl, Roundcube with Chromium, postfix's smtp-source, a Kerberos KDC and its
#           clients, fail2ban, slapd
#
# Works as root or through sudo, asks no questions, and lets no daemon start: neither now (policy-rc.d, put in place
# for the installation only) nor at the next boot (services that this script brought in are disabled again).
set -euo pipefail

build=(build-essential pkg-config libssl-dev libsasl2-dev)
run=(openssl sasl2-bin libsasl2-modules libsasl2-modules-db curl)
test=(cyrus-common cyrus-imapd cyrus-admin cyrus-clients cyrus-pop3d isync offlineimap3
    mutt neomutt libmail-imaptalk-perl libmail-imapclient-perl tmux postfix python3 xz-utils procps
    util-linux strace roundcube-core roundcube-sqlite3 php-cli php-sqlite3 chromium chromium-driver
    python3-selenium krb5-kdc krb5-admin-server krb5-user libsasl2-modules-gssapi-mit python3-gssapi fail2ban slapd)
services=(cyrus-imapd postfix saslauthd krb5-kdc krb5-admin-server fail2ban slapd)

case ${1:-} in
build) wanted=("${build[@]}") ;;
run)   wanted=("${build[@]}" "${run[@]}") ;;
test)  wanted=("${build[@]}" "${run[@]}" "${test[@]}")
       command -v npm >/dev/null || wanted+=(npm) ;;
*)     echo "usage: $0 build|run|test" >&2; exit 2 ;;
esac

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

missing=()
for package in "${wanted[@]}"; do
    installed "$package" || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "$0: this is not Debian; please install the equivalents of: ${missing[*]}" >&2
    exit 1
fi
as_root=()
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || { echo "$0: become root, or install sudo, to install: ${missing[*]}" >&2; exit 1; }
    as_root=(sudo)
fi

policy=/usr/sbin/policy-rc.d
saved=
if [ -e $policy ]; then
    saved=$policy.before-cyrus
    "${as_root[@]}" mv $policy $saved
fi
restore() {
    "${as_root[@]}" rm -f $policy
    [ -z "$saved" ] || "${as_root[@]}" mv "$saved" $policy
}
trap restore EXIT
printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee $policy >/dev/null
"${as_root[@]}" chmod 755 $policy

fresh=()
for service in "${services[@]}"; do
    package=${service/saslauthd/sasl2-bin}
    installed "$package" || fresh+=("$service")
done

echo "installing: ${missing[*]}"
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300)
"${apt[@]}" update
"${apt[@]}" install -y --no-install-recommends "${missing[@]}" >/dev/null </dev/null

if [ -d /run/systemd/system ] && [ ${#fresh[@]} -gt 0 ]; then
    for service in "${fresh[@]}"; do
        "${as_root[@]}" systemctl disable "$service" 2>/dev/null || true
    done
fi
