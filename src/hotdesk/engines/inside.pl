# Runs in a container, on the root's own Perl, which every Debian system has.
#
#   begin PATH...   first process: takes away what the engine mounted in /etc, /run and at /sys, and the PATHs, which the
#                   root does not have; then waits for the end of its input, which comes with the end of hotdesk
#   wait            first process where programs need the network, and so what is mounted: it only waits
#   run             one program: reads what to run and an archive, answers with a status and an archive
#
# The right to unmount (and to become another user) ends here, before anything else of the root runs.
use strict;
use POSIX ();

my ($PR_CAPBSET_DROP, $PR_SET_SECCOMP, $PR_SET_NO_NEW_PRIVS) = (24, 22, 38);
my $prctl = {x86_64 => 157, aarch64 => 167}->{(POSIX::uname())[4]} or die "this machine is not known here\n";
# chown, dac_override, dac_read_search, fowner, fsetid, kill, sys_chroot, setfcap
my %kept = map { $_ => 1 } (0, 1, 2, 3, 4, 5, 18, 31);

sub control { my @given = @_; push @given, (0) x (5 - @given); return syscall($prctl, @given) }

sub give_up_rights {
    for my $right (0 .. 63) {
        last if control(23, $right) < 0;    # PR_CAPBSET_READ: the kernel knows no more
        $kept{$right} or control($PR_CAPBSET_DROP, $right) == 0 or die "a right cannot be given up: $!\n";
    }
}

sub begin {
    open my $mounts, '<', '/proc/self/mountinfo' or die "/proc/self/mountinfo: $!\n";
    my @points = map { (split / /)[4] } <$mounts>;
    s/\\([0-7]{3})/chr oct $1/ge for @points;
    for my $point (reverse grep { m{^/((etc|run)/|sys$)} } @points) {
        my $umount2 = {157 => 166, 167 => 39}->{$prctl};
        syscall($umount2, "$point", 2) == 0 or die "$point cannot be unmounted: $!\n";
    }
    unlink $_ for @_;
}

sub wait_for_the_end {
    give_up_rights();
    $SIG{CHLD} = 'IGNORE';
    $SIG{$_} = sub { exit 0 } for qw(INT TERM HUP);
    syswrite STDOUT, "ready\n";
    my $nothing;
    1 while sysread STDIN, $nothing, 65536;
}

sub take {    # sysread: what follows is for tar
    my ($size) = @_;
    my $found = '';
    while (length $found < $size) {
        sysread(STDIN, $found, $size - length $found, length $found) or die "the input is cut short\n";
    }
    return $found;
}

sub fields { return split /\0/, take(take(10)), -1 }

sub run {
    my ($filter, $user, $directory, $feed, $log) = fields();
    my @made = fields();
    my @environment = fields();
    my @command = fields();
    system('/usr/bin/tar', '-xp', '--numeric-owner', '-f', '-', '-C', '/') == 0 or die "tar cannot unpack\n";
    my $child = fork;
    defined $child or die "no process can be made: $!\n";
    if (!$child) {
        open STDIN, '<', $feed or die "$feed: $!\n";
        open STDOUT, '>', $log or die "$log: $!\n";
        open STDERR, '>&', \*STDOUT or die "$log: $!\n";
        %ENV = map { split /=/, $_, 2 } @environment;
        if ($user) {
            $) = "$user $user";
            $( = $user;
            ($<, $>) = ($user, $user);
            $< == $user && $> == $user or die "user $user: $!\n";
        } else {
            give_up_rights();
        }
        chdir $directory or die "$directory: $!\n";
        umask 022;
        my $code = pack 'H*', $filter;
        my $program = pack 'S x6 P', length($code) / 8, $code;
        control($PR_SET_NO_NEW_PRIVS, 1) == 0 or die "no_new_privs: $!\n";
        control($PR_SET_SECCOMP, 2, $program) == 0 or die "seccomp: $!\n";
        exec { $command[0] } @command or die "$command[0]: $!\n";
    }
    waitpid $child, 0;
    my $status = $? & 127 ? 128 + ($? & 127) : $? >> 8;
    syswrite STDOUT, sprintf "%010d", $status;
    unlink $feed;
    $| = 1;
    exec '/usr/bin/tar', '-c', '-f', '-', '-C', '/', map { substr $_, 1 } ($log, @made);
}

my $step = shift @ARGV;
run() if $step eq 'run';
begin(@ARGV) if $step eq 'begin';
wait_for_the_end();
