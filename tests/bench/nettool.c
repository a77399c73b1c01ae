/*
 * nettool: the small load generator behind `make bench`.
 *
 *   nettool serve ADDRESS              echo server for TCP and UDP on one free port, which it prints
 *   nettool rr   HOST PORT SECONDS     one byte there and back over one TCP connection, again and again
 *   nettool urr  HOST PORT SECONDS     the same over UDP
 *   nettool crr  HOST PORT SECONDS     TCP connect, one byte there and back, close, again and again
 *   nettool hold HOST PORT COUNT       open COUNT TCP connections, ask one byte on each, hold them until stdin ends
 *   nettool bulk ADDRESS               server for the next two on one free port, which it prints
 *   nettool up   HOST PORT SECONDS     send over one TCP connection; what the server has counted
 *   nettool down HOST PORT SECONDS     receive over one TCP connection
 *   nettool bridge TAP SOCKET          carry frames between a TAP device and a stream socket with QEMU's framing
 *
 * Results are one JSON object on stdout.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    BACKLOG = 4096,
    EVENTS = 256,
    MAX_SAMPLES = 8 << 20,
    HELD_CONNECT_SECONDS = 3, /* for one connection */
    HELD_FAILURES = 4,        /* then the rest is not tried */
    HELD_OPEN_SECONDS = 20,   /* for all connects together */
    HELD_REPLY_SECONDS = 10,  /* for all answers together */
    FRAME_MAX = 69632,
    RELAY_BUFFER = 1 << 20,
    RELAY_BATCH = 256 << 10,
    BULK_BUFFER = 128 << 10,
};

static float samples[MAX_SAMPLES]; /* microseconds */
static struct sockaddr_in target;

static _Noreturn void die(const char *what) {
    perror(what);
    exit(1);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void raise_descriptor_limit(void) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static void set_no_delay(int fd) {
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static void set_receive_timeout(int fd, int seconds) {
    struct timeval limit = {seconds, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
}

static struct sockaddr_in parse_address(const char *host, int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1) {
        fprintf(stderr, "nettool: %s is no IPv4 address\n", host);
        exit(2);
    }
    return address;
}

/* ---- serve ---- */

static int bound_socket(int type, struct sockaddr_in *address) {
    int fd = socket(AF_INET, type | SOCK_NONBLOCK, 0);
    socklen_t size = sizeof *address;
    if (bind(fd, (void *)address, sizeof *address))
        die("bind");
    getsockname(fd, (void *)address, &size);
    return fd;
}

static void watch(int epoll, int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

static void accept_all(int epoll, int listener) {
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        set_no_delay(fd);
        watch(epoll, fd);
    }
}

static void echo_datagrams(int fd, char *buffer, size_t capacity) {
    struct sockaddr_in peer;
    socklen_t size = sizeof peer;
    ssize_t length;
    while ((length = recvfrom(fd, buffer, capacity, 0, (void *)&peer, &size)) >= 0)
        sendto(fd, buffer, length, 0, (void *)&peer, size);
}

static void echo_stream(int fd, char *buffer, size_t capacity) {
    ssize_t length = read(fd, buffer, capacity);
    if (length < 0 && errno == EAGAIN)
        return;
    if (length <= 0 || write(fd, buffer, length) < 0)
        close(fd);
}

static _Noreturn void serve(const char *host) {
    static char buffer[65536];
    struct epoll_event events[EVENTS];
    struct sockaddr_in address = parse_address(host, 0);
    int epoll = epoll_create1(0);
    int listener = bound_socket(SOCK_STREAM, &address);
    int datagrams = bound_socket(SOCK_DGRAM, &address); /* the same port: the address holds it now */
    if (listen(listener, BACKLOG))
        die("listen");
    watch(epoll, listener);
    watch(epoll, datagrams);
    printf("{\"port\": %d}\n", ntohs(address.sin_port));
    fflush(stdout);
    for (;;) {
        int ready = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd == listener)
                accept_all(epoll, fd);
            else if (fd == datagrams)
                echo_datagrams(fd, buffer, sizeof buffer);
            else
                echo_stream(fd, buffer, sizeof buffer);
        }
    }
}

/* ---- rr, urr, crr ---- */

static int dial(int type) {
    int fd = socket(AF_INET, type, 0);
    if (fd < 0 || connect(fd, (void *)&target, sizeof target)) {
        close(fd);
        return -1;
    }
    if (type == SOCK_STREAM)
        set_no_delay(fd);
    return fd;
}

static int ask(int fd) {
    char byte = 'x';
    return write(fd, &byte, 1) == 1 && read(fd, &byte, 1) == 1;
}

static int compare(const void *left, const void *right) {
    float a = *(const float *)left, b = *(const float *)right;
    return (a > b) - (a < b);
}

static void report(long count, long failed, double seconds) {
    qsort(samples, count, sizeof *samples, compare);
    printf("{\"per_second\": %.1f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"failed\": %ld}\n", count / seconds,
           count ? samples[count / 2] : 0, count ? samples[count * 99 / 100] : 0, failed);
}

static int request_response(int type, double seconds) {
    int fd = dial(type);
    long count = 0, failed = 0;
    double start = now(), time = start;
    if (fd < 0)
        die("connect");
    set_receive_timeout(fd, 1);
    while (time - start < seconds && count < MAX_SAMPLES) {
        double begin = time;
        int answered = ask(fd);
        time = now();
        if (answered)
            samples[count++] = (time - begin) * 1e6;
        else if (type == SOCK_STREAM)
            die("the connection ended");
        else
            failed++;
    }
    report(count, failed, time - start);
    return 0;
}

static void close_with_reset(int fd) {
    struct linger none = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    close(fd);
}

static int connect_request_close(double seconds) {
    long count = 0, failed = 0;
    double start = now(), time = start;
    while (time - start < seconds && count < MAX_SAMPLES) {
        double begin = time;
        int fd = dial(SOCK_STREAM);
        int answered = fd >= 0 && ask(fd);
        if (fd >= 0)
            close_with_reset(fd); /* no TIME-WAIT: the ports would run out */
        time = now();
        if (answered)
            samples[count++] = (time - begin) * 1e6;
        else
            failed++;
    }
    report(count, failed, time - start);
    return 0;
}

/* ---- hold ---- */

static int dial_patiently(void) {
    struct timeval limit = {HELD_CONNECT_SECONDS, 0};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit); /* connect obeys it too */
    if (fd >= 0 && connect(fd, (void *)&target, sizeof target) == 0)
        return fd;
    close(fd);
    return -1;
}

static int connect_many(int *fds, int count) {
    int connected = 0;
    double end = now() + HELD_OPEN_SECONDS;
    for (int i = 0, failures = 0; i < count && failures < HELD_FAILURES && now() < end; i++) {
        fds[connected] = dial_patiently();
        if (fds[connected] >= 0)
            connected++;
        else
            failures++;
    }
    return connected;
}

static int count_answers(const int *fds, int count) {
    int answered = 0;
    char byte = 'x';
    double end = now() + HELD_REPLY_SECONDS;
    for (int i = 0; i < count; i++)
        if (write(fds[i], &byte, 1) != 1)
            fprintf(stderr, "nettool: connection %d broke\n", i);
    for (int i = 0; i < count; i++) {
        struct pollfd reply = {fds[i], POLLIN, 0};
        double left = end - now();
        if (poll(&reply, 1, left > 0 ? left * 1000 : 0) > 0)
            answered += read(fds[i], &byte, 1) == 1;
    }
    return answered;
}

static int hold(int count) {
    int *fds = calloc(count, sizeof *fds);
    double start = now();
    char byte;
    int connected = connect_many(fds, count);
    int answered = count_answers(fds, connected);
    printf("{\"answered\": %d, \"connected\": %d, \"seconds\": %.2f}\n", answered, connected, now() - start);
    fflush(stdout);
    while (read(STDIN_FILENO, &byte, 1) > 0)
        ;
    free(fds);
    return 0;
}

/* ---- bulk, up, down ---- */

static char bulk_buffer[BULK_BUFFER];

static uint64_t drain(int fd, double end) {
    uint64_t total = 0;
    ssize_t length;
    while (now() < end && (length = read(fd, bulk_buffer, sizeof bulk_buffer)) > 0)
        total += length;
    return total;
}

static void fill(int fd, double end) {
    while (now() < end && write(fd, bulk_buffer, sizeof bulk_buffer) > 0)
        ;
}

/* What the client says first is what it wants. */
static void serve_bulk(int fd) {
    char wish = 0;
    uint64_t total;
    if (read(fd, &wish, 1) != 1)
        return;
    if (wish == 'd') {
        fill(fd, 1e18);
        return;
    }
    total = drain(fd, 1e18);
    if (write(fd, &total, sizeof total) < 0)
        perror("nettool: the client of an upload");
}

static _Noreturn void bulk(const char *host) {
    struct sockaddr_in address = parse_address(host, 0);
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (void *)&address, sizeof address) || listen(listener, BACKLOG))
        die("bind");
    getsockname(listener, (void *)&address, &size);
    printf("{\"port\": %d}\n", ntohs(address.sin_port));
    fflush(stdout);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        serve_bulk(fd);
        close(fd);
    }
}

static int transfer(const char *wish, double seconds) {
    int fd = dial(SOCK_STREAM);
    double start = now();
    uint64_t total = 0;
    if (fd < 0 || write(fd, wish, 1) != 1)
        die("connect");
    if (*wish == 'd') {
        total = drain(fd, start + seconds);
    } else {
        fill(fd, start + seconds);
        shutdown(fd, SHUT_WR);
        if (recv(fd, &total, sizeof total, MSG_WAITALL) != sizeof total)
            die("the server's count");
    }
    printf("{\"gbit\": %.4f}\n", total * 8e-9 / (now() - start));
    return 0;
}

/* ---- bridge ---- */

static int open_tap(const char *name) {
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    if (fd < 0 || ioctl(fd, TUNSETIFF, &request))
        die("/dev/net/tun");
    return fd;
}

static int dial_unix(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0), size = 4 << 20;
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    if (connect(fd, (void *)&address, sizeof address))
        die(path);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    return fd;
}

static void write_all(int fd, const unsigned char *data, size_t length) {
    while (length > 0) {
        ssize_t written = write(fd, data, length);
        if (written <= 0)
            die("stream socket");
        data += written;
        length -= written;
    }
}

static void tap_to_stream(int tap, int stream) {
    static unsigned char batch[RELAY_BATCH + FRAME_MAX + 4];
    size_t filled = 0;
    while (filled < RELAY_BATCH) {
        ssize_t length = read(tap, batch + filled + 4, FRAME_MAX);
        uint32_t prefix = htonl(length);
        if (length <= 0)
            break;
        memcpy(batch + filled, &prefix, 4);
        filled += length + 4;
    }
    write_all(stream, batch, filled);
}

static void write_frame(int tap, const unsigned char *frame, size_t length) {
    struct pollfd room = {tap, POLLOUT, 0};
    while (write(tap, frame, length) < 0 && errno == EAGAIN)
        poll(&room, 1, 10);
}

static void stream_to_tap(int stream, int tap) {
    static unsigned char buffer[RELAY_BUFFER];
    static size_t held;
    size_t taken = 0;
    ssize_t got = read(stream, buffer + held, sizeof buffer - held);
    if (got <= 0)
        exit(0);
    held += got;
    while (held - taken >= 4) {
        uint32_t length;
        memcpy(&length, buffer + taken, 4);
        length = ntohl(length);
        if (length > FRAME_MAX) {
            fprintf(stderr, "nettool: a frame of %u bytes\n", length);
            exit(1);
        }
        if (held - taken < 4 + length)
            break;
        write_frame(tap, buffer + taken + 4, length);
        taken += 4 + length;
    }
    memmove(buffer, buffer + taken, held - taken);
    held -= taken;
}

static _Noreturn void bridge(const char *name, const char *path) {
    int tap = open_tap(name), stream = dial_unix(path);
    struct pollfd ends[2] = {{tap, POLLIN, 0}, {stream, POLLIN, 0}};
    for (;;) {
        if (poll(ends, 2, -1) < 0)
            die("poll");
        if (ends[0].revents)
            tap_to_stream(tap, stream);
        if (ends[1].revents)
            stream_to_tap(stream, tap);
    }
}

/* ---- main ---- */

static int measure(const char *what, const char *number) {
    if (!strcmp(what, "rr"))
        return request_response(SOCK_STREAM, atof(number));
    if (!strcmp(what, "urr"))
        return request_response(SOCK_DGRAM, atof(number));
    if (!strcmp(what, "crr"))
        return connect_request_close(atof(number));
    if (!strcmp(what, "up") || !strcmp(what, "down"))
        return transfer(what, atof(number));
    if (!strcmp(what, "hold"))
        return hold(atoi(number));
    return 2;
}

int main(int count, char **words) {
    signal(SIGPIPE, SIG_IGN);
    raise_descriptor_limit();
    if (count == 3 && !strcmp(words[1], "serve"))
        serve(words[2]);
    if (count == 3 && !strcmp(words[1], "bulk"))
        bulk(words[2]);
    if (count == 4 && !strcmp(words[1], "bridge"))
        bridge(words[2], words[3]);
    if (count == 5) {
        target = parse_address(words[2], atoi(words[3]));
        return measure(words[1], words[4]);
    }
    fprintf(stderr, "nettool: the head of nettool.c says how it is used\n");
    return 2;
}
