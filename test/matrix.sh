# The part of test/all that tests on other Go releases than the machine's: functions for
# it to source. They use its step, told, mode and HANDOFF_TEST_SKIPPED.

# go_releases prints those of test/go-releases, oldest first.
go_releases() { sed 's/[[:space:]]*#.*//; /^[[:space:]]*$/d' test/go-releases; }

# matrix_releases prints those to test on beside the machine's: in a normal run the
# oldest and the newest.
matrix_releases() {
	local machine
	machine=$(go env GOVERSION)
	if [[ $mode == long ]]; then go_releases; else go_releases | sed -n '1p; $p'; fi |
		grep -vxF -- "${machine#go}" | uniq
}

# fetch_release RELEASE has the go command fetch a toolchain through the module proxy.
# One that can't be had is a failure in CI, and named otherwise.
fetch_release() {
	local said
	said=$(GOTOOLCHAIN=go$1 go version 2>&1) && return
	echo "$said"
	[[ ${CI:-} != true ]] || return 1
	echo "Go $1: it can't be fetched: $(tr -s "[:space:]" " " <<<"$said")" >>"$HANDOFF_TEST_SKIPPED"
	return 3
}

# on_release RELEASE COMMAND… runs the command with a release. Without the race
# detector's programs, which take most of the time: the machine's own Go has it.
on_release() {
	local release=$1
	shift
	GOTOOLCHAIN=go$release HANDOFF_TEST_RACE=off "$@"
}

build_all() {
	go version
	go vet ./...
	in_other_modules go vet ./...
}

# in_other_modules COMMAND… runs it in each module of test and examples.
in_other_modules() {
	local mod
	for mod in $(find test examples -name go.mod -not -path 'test/tools/*' | sort); do
		(cd "${mod%/go.mod}" && "$@")
	done
}

# test_release is what each release has to pass in a normal run: it is what differs
# between releases, net/http above all.
test_release() {
	go test -count=1 -timeout 8m -short ./handoff/... ./cmd/...
	go test -count=1 -timeout 8m -run 'LoseNoRequest' ./test/upgrade
	(cd test/protocols && go test -count=1 -timeout 8m ./...)
}

# test_release_long is all that there is.
test_release_long() {
	go test -count=1 -timeout 20m ./...
	in_other_modules go test -count=1 -timeout 20m ./...
}

run_matrix() {
	local release tests=test_release code
	if [[ $mode == long ]]; then tests=test_release_long; fi
	for release in $(matrix_releases); do
		code=0
		fetch_release "$release" || code=$?
		case $code in
		0) ;;
		3) continue ;;
		*) step "Go $release: fetch" false; continue ;;
		esac
		step "Go $release: build of everything" on_release "$release" build_all
		step "Go $release: tests" on_release "$release" $tests
	done
	if [[ $mode == long ]]; then look_ahead; fi
}

# look_ahead tells, without failing, what comes after the newest release of the list.
look_ahead() {
	local newest out candidate
	newest=$(go_releases | tail -n 1)
	if ! out=$(toolchains); then
		echo "which Go releases there are can't be found out: $out"
		return
	fi
	candidate=$(after "$newest" <<<"$out" | tail -n 1)
	if [[ -z $candidate ]]; then
		echo "no Go release or candidate is newer than $newest"
	elif [[ $candidate != *rc* ]]; then
		told "Go $candidate is out: put it into test/go-releases" on_release "$candidate" build_all
	else
		told "Go $candidate: build of everything" on_release "$candidate" build_all
		told "Go $candidate: tests" on_release "$candidate" test_release
	fi
}

# toolchains prints the Go releases that the module proxy has for this machine, oldest
# first.
toolchains() {
	local suffix
	suffix=.$(go env GOHOSTOS)-$(go env GOHOSTARCH)
	go list -m -versions golang.org/toolchain 2>&1 | tr ' ' '\n' | sed -n "s/^v0\.0\.1-go\(.*\)${suffix//./\\.}\$/\1/p" |
		sed 's/rc/~rc/' | sort -V | sed 's/~rc/rc/' # a candidate comes before its release
}

# after RELEASE prints those of a sorted list that are newer.
after() {
	{ cat; echo "$1"; } | sed 's/rc/~rc/' | sort -uV | sed 's/~rc/rc/' | sed "1,/^${1//./\\.}\$/d"
}

# Vulnerabilities of what is imported, by the database of the Go project. Where that
# can't be reached nothing is known, which is told.
run_govulncheck() {
	local govulncheck said code=0
	govulncheck=$(go -C test/tools tool -n govulncheck)
	said=$("$govulncheck" "$@" ./... 2>&1) || code=$?
	echo "$said"
	if ((code != 0)) && grep -q '^govulncheck: fetching vulnerabilities:' <<<"$said"; then
		echo "govulncheck: its database can't be reached: nothing is known of vulnerabilities" >>"$HANDOFF_TEST_SKIPPED"
		return 0
	fi
	return $code
}
