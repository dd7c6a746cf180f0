# Sums cargo's `test result:` lines into "N passed, N failed". `status` is cargo's exit status: when
# it is not zero although no test is reported as failed (a crashed, hung or unbuildable test
# binary), that counts as one failure.
/^test result: / {
    for (i = 2; i <= NF; i++) {
        if ($i ~ /^passed/) passed += $(i - 1)
        if ($i ~ /^failed/) failed += $(i - 1)
    }
}
END {
    if (status != 0 && failed == 0) failed = 1
    printf "%d passed, %d failed\n", passed, failed
}
