// A service on libsystemd: reads what it was given at the very start of main, and
// answers every HTTP request with a report (see doc.go).

#define _GNU_SOURCE
#include <dirent.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

extern char **environ;

static char report[1 << 16];
static size_t used;

#define say(...) (used += snprintf(report + used, sizeof report - used, __VA_ARGS__))

static void say_descriptors(void) {
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;

	if (!dir) {
		perror("/proc/self/fd");
		exit(1);
	}
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.' && atoi(entry->d_name) != dirfd(dir))
			say("fd %s\n", entry->d_name);
	closedir(dir);
}

static void say_environment(void) {
	static const char *prefixes[] = {"LISTEN_", "HANDOFF_LINK", "HANDOFF_STAGE", "WATCHDOG_", "SYSTEMD_EXEC_PID="};

	for (char **e = environ; *e; e++)
		for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
			if (!strncmp(*e, prefixes[i], strlen(prefixes[i])))
				say("env %s\n", *e);
}

static void say_kind(int fd) {
	if (sd_is_socket_inet(fd, AF_UNSPEC, SOCK_STREAM, 1, 0) > 0)
		say("kind inet stream listening\n");
	else if (sd_is_socket_inet(fd, AF_UNSPEC, SOCK_DGRAM, -1, 0) > 0)
		say("kind inet datagram\n");
	else if (sd_is_socket_unix(fd, SOCK_STREAM, 1, NULL, 0) > 0)
		say("kind unix stream listening\n");
	else if (sd_is_fifo(fd, NULL) > 0)
		say("kind fifo\n");
	else
		say("kind other\n");
}

static void answer(int listener) {
	static const char head[] = "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n";
	char request[4096];
	size_t got = 0;
	ssize_t n;
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	do {
		n = read(fd, request + got, sizeof request - 1 - got);
		if (n <= 0)
			break;
		got += n;
		request[got] = 0;
	} while (!strstr(request, "\r\n\r\n") && got < sizeof request - 1);
	if (write(fd, head, sizeof head - 1) < 0 || write(fd, report, used) < 0)
		perror("write");
	close(fd);
}

int main(void) {
	char **names = NULL;
	struct pollfd polled[64];
	int n, listening = 0;

	say_descriptors();
	say_environment();
	say("pid %d\n", getpid());
	n = sd_listen_fds_with_names(1, &names);
	if (n < 0) {
		fprintf(stderr, "sd_listen_fds_with_names: %s\n", strerror(-n));
		return 1;
	}
	for (int i = 0; i < n; i++) {
		int fd = SD_LISTEN_FDS_START + i;
		say("name %s\n", names[i]);
		say_kind(fd);
		if (listening < 64 && sd_is_socket(fd, AF_UNSPEC, SOCK_STREAM, 1) > 0)
			polled[listening++] = (struct pollfd){.fd = fd, .events = POLLIN};
	}
	if (listening == 0) { // nobody can ask
		fputs(report, stdout);
		return 0;
	}
	while (poll(polled, listening, -1) > 0)
		for (int i = 0; i < listening; i++)
			if (polled[i].revents)
				answer(polled[i].fd);
	return 1;
}
