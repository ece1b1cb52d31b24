# Runs in a container, on the root's own Perl, which every Debian system has.
#
#   begin PATH...   first process: takes away what the engine mounted in /etc, /run and at /sys, and the PATHs, which the
#                   root does not have; then waits for the end of its input, which comes with the end of hotdesk
#   wait            first process where programs need the network, and so what is mounted: it only waits
#   run             one program: reads what to run and an archive, answers with a status and an archive
#
# Perl, with what it loads, is all of the root that is ever started with the right to unmount.
use strict;
use POSIX ();

my ($PR_CAPBSET_READ, $PR_CAPBSET_DROP, $PR_SET_SECCOMP) = (23, 24, 22);
my ($PR_SET_CHILD_SUBREAPER, $PR_SET_NO_NEW_PRIVS) = (36, 38);
my $numbers = {x86_64 => [157, 126, 166], aarch64 => [167, 91, 39]}->{(POSIX::uname())[4]}
    or die "this machine is not known here\n";
my ($prctl, $capset, $umount2) = @$numbers;
# chown, dac_override, fowner, fsetid, kill, sys_chroot, setfcap
my @kept = (0, 1, 3, 4, 5, 18, 31);
my @becoming = (6, 7);    # another user: setgid, setuid

sub control { my @given = @_; push @given, (0) x (5 - @given); return syscall($prctl, @given) }

# This process keeps what it names here besides; nothing that it starts gets that.
sub give_up_rights {
    my $mine = 0;
    $mine |= 1 << $_ for @kept, @_;
    my %kept = map { $_ => 1 } @kept;
    for my $right (0 .. 63) {
        last if control($PR_CAPBSET_READ, $right) < 0;    # the kernel knows no more
        $kept{$right} or control($PR_CAPBSET_DROP, $right) == 0 or die "a right cannot be given up: $!\n";
    }
    my ($header, $rights) = (pack('L l', 0x20080522, 0), pack('L6', $mine, $mine, 0, 0, 0, 0));
    syscall($capset, $header, $rights) == 0 or die "rights cannot be given up: $!\n";
}

sub begin {
    open my $mounts, '<', '/proc/self/mountinfo' or die "/proc/self/mountinfo: $!\n";
    my @points = map { (split / /)[4] } <$mounts>;
    s/\\([0-7]{3})/chr oct $1/ge for @points;
    for my $point (reverse grep { m{^/((etc|run)/|sys$)} } @points) {
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

# What the program left running is ours, since we are its subreaper.
sub end_the_others {
    while ((my $ended = waitpid -1, POSIX::WNOHANG()) >= 0) {
        next if $ended;
        opendir my $processes, '/proc' or die "/proc: $!\n";
        for my $id (grep { /^\d+$/ } readdir $processes) {
            open my $stat, '<', "/proc/$id/stat" or next;
            kill 'KILL', $id if join('', <$stat>) =~ /.*\) \S (\d+)/s && $1 == $$;
        }
        select undef, undef, undef, 0.01;
    }
}

sub run {
    give_up_rights(@becoming);
    my ($filter, $user, $directory, $feed, $log) = fields();
    my @made = fields();
    my @given = fields();
    my @environment = fields();
    my @command = fields();
    system('/usr/bin/tar', '-xp', '--numeric-owner', '-f', '-', '-C', '/') == 0 or die "tar cannot unpack\n";
    control($PR_SET_CHILD_SUBREAPER, 1) == 0 or die "subreaper: $!\n";
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
    end_the_others();
    syswrite STDOUT, sprintf "%010d", $status;
    my $archived = system '/usr/bin/tar', '-c', '-f', '-', '-C', '/', map { substr $_, 1 } ($log, @made);
    # These two are in memory, as long as the container lives.
    system '/usr/bin/rm', '-rf', '--', $feed, $log, grep { m{^/(run|tmp)/} } @made, @given;
    exit($archived ? 1 : 0);
}

my $step = shift @ARGV;
run() if $step eq 'run';
begin(@ARGV) if $step eq 'begin';
wait_for_the_end();
