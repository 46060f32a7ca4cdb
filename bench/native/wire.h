/* What upstream.c and load.c share: time, sockets, and finding a header in a head. Linux only. */
#ifndef MODELWAY_BENCH_WIRE_H
#define MODELWAY_BENCH_WIRE_H

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SECOND_NS 1000000000LL
#define MILLISECOND_NS 1000000LL

/* The sender's clock stands in each chunk as "t=<nanoseconds> ": both programs run on one machine. */
#define STAMP "t="

static inline int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * SECOND_NS + now.tv_nsec;
}

static inline void die(const char *what) {
    perror(what);
    exit(1);
}

static inline void *room_for(void *block, size_t size) {
    block = realloc(block, size);
    if (!block) die("memory");
    return block;
}

/* Sleep until something happens or `until_ns` has come; a millisecond would be too coarse for that. */
static inline int wait_for_events(int epoll, struct epoll_event *events, int most, int64_t until_ns) {
    int64_t left = until_ns - now_ns();
    if (left < 0) left = 0;
    struct timespec pause = {left / SECOND_NS, left % SECOND_NS};
    int count = epoll_pwait2(epoll, events, most, &pause, NULL);
    if (count < 0 && errno != EINTR) die("epoll_pwait2");
    return count < 0 ? 0 : count;
}

static inline void watch(int epoll, int operation, int fd, uint32_t what, void *whose) {
    struct epoll_event event = {.events = what, .data.ptr = whose};
    if (epoll_ctl(epoll, operation, fd, &event)) die("epoll_ctl");
}

static inline void send_at_once(int fd) {
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static inline struct sockaddr_in loopback(int port) {
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

/* The value of a header (its name in lower case, any case in the head), or NULL. */
static inline const char *header(const char *head, size_t length, const char *name) {
    size_t size = strlen(name);
    const char *end = head + length, *line = head;
    while ((line = memchr(line, '\n', end - line)) && (size_t)(end - ++line) > size) {
        if (line[size] == ':' && !strncasecmp(line, name, size)) {
            line += size + 1;
            while (line < end && *line == ' ') line++;
            return line;
        }
    }
    return NULL;
}

#endif
