/* An LLM server that costs next to nothing: what it takes is what a gateway is measured without.
 *
 *   upstream PORT
 *
 * POST       a chat completion of about 1 KB; with "stream":true a stream of "max_tokens" chunks, one every
 *            "pace_ms=N" (said somewhere in the prompt), each with the time it was sent at.
 * GET        how many requests, streams and chunks it has served, as JSON.
 *
 * One thread, epoll, HTTP/1.1 with Content-Length only. Not for anything but measuring. */
#include "wire.h"

struct client {
    int fd;
    bool gone;
    char *in;
    size_t in_size, in_room;
    char *out; /* what the socket did not take at once */
    size_t out_size, out_room;
    long chunks_left;
    int64_t pace_ns, due_ns;
    int place; /* in the heap of streams; -1 when none runs */
    struct client *next_gone;
};

static int epoll;
static struct client *gone; /* freed after the events of one wait, which may still name them */
static struct client **streams;
static int stream_count, stream_room;
static long served_requests, served_streams, served_chunks;
static char whole_answer[4096];
static size_t whole_answer_size;

/* Streams by the time of their next chunk */

static void put_at(int place, struct client *client) {
    streams[place] = client;
    client->place = place;
}

static void sift(struct client *client) {
    int place = client->place;
    while (place > 0 && client->due_ns < streams[(place - 1) / 2]->due_ns) {
        put_at(place, streams[(place - 1) / 2]);
        place = (place - 1) / 2;
    }
    for (;;) {
        int below = 2 * place + 1;
        if (below >= stream_count) break;
        if (below + 1 < stream_count && streams[below + 1]->due_ns < streams[below]->due_ns) below++;
        if (streams[below]->due_ns >= client->due_ns) break;
        put_at(place, streams[below]);
        place = below;
    }
    put_at(place, client);
}

static void schedule(struct client *client) {
    if (stream_count == stream_room) {
        stream_room = stream_room ? 2 * stream_room : 1024;
        streams = room_for(streams, stream_room * sizeof *streams);
    }
    put_at(stream_count++, client);
    sift(client);
}

static void unschedule(struct client *client) {
    if (client->place < 0) return;
    struct client *last = streams[--stream_count];
    if (last != client) {
        put_at(client->place, last);
        sift(last);
    }
    client->place = -1;
}

/* Bytes out */

static void drop(struct client *client) {
    if (client->gone) return;
    unschedule(client);
    close(client->fd);
    client->gone = true;
    client->next_gone = gone;
    gone = client;
}

static void push_out(struct client *client, const char *bytes, size_t size) {
    if (client->gone) return;
    if (!client->out_size) {
        ssize_t taken = write(client->fd, bytes, size);
        if (taken < 0 && errno != EAGAIN) {
            drop(client);
            return;
        }
        if (taken > 0) bytes += taken, size -= taken;
        if (!size) return;
        watch(epoll, EPOLL_CTL_MOD, client->fd, EPOLLIN | EPOLLOUT, client);
    }
    if (client->out_size + size > client->out_room) {
        client->out_room = 2 * (client->out_size + size);
        client->out = room_for(client->out, client->out_room);
    }
    memcpy(client->out + client->out_size, bytes, size);
    client->out_size += size;
}

static void push_rest(struct client *client) {
    ssize_t taken = write(client->fd, client->out, client->out_size);
    if (taken < 0) {
        if (errno != EAGAIN) drop(client);
        return;
    }
    client->out_size -= taken;
    memmove(client->out, client->out + taken, client->out_size);
    if (!client->out_size) watch(epoll, EPOLL_CTL_MOD, client->fd, EPOLLIN, client);
}

/* Answers */

static void make_whole_answer(void) {
    char text[700] = "", body[2048];
    while (strlen(text) < 560) strcat(text, "Water finds its way by trying every way at once, and keeping the one that went down. ");
    int size = snprintf(body, sizeof body,
        "{\"id\":\"chatcmpl-4bd0c1f27a9e4d33a1c6e58b70f2d914\",\"object\":\"chat.completion\",\"created\":1767225600,"
        "\"model\":\"measured-1\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"%s\"},"
        "\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":187,\"completion_tokens\":131,"
        "\"total_tokens\":318},\"system_fingerprint\":\"fp_0c51b6\"}", text);
    whole_answer_size = snprintf(whole_answer, sizeof whole_answer,
        "HTTP/1.1 200 OK\r\nserver: measured\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s", size, body);
}

static void send_chunk(struct client *client, const char *head) {
    static const char opening[] =
        "data: {\"id\":\"chatcmpl-4bd0c1f27a9e4d33a1c6e58b70f2d914\",\"object\":\"chat.completion.chunk\","
        "\"created\":1767225600,\"model\":\"measured-1\",\"choices\":[{\"index\":0,\"delta\":{";
    char event[1024], block[2048];
    bool last = client->chunks_left == 0;
    int size = last
        ? snprintf(event, sizeof event, "%s},\"logprobs\":null,\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n", opening)
        : snprintf(event, sizeof event, "%s\"role\":\"assistant\",\"content\":\"" STAMP "%lld \"},\"logprobs\":null,"
                   "\"finish_reason\":null}]}\n\n", opening, (long long)now_ns());
    size = snprintf(block, sizeof block, "%s%x\r\n%s\r\n%s", head, size, event, last ? "0\r\n\r\n" : "");
    served_chunks += !last;
    push_out(client, block, size);
}

static void next_chunk(struct client *client) {
    client->chunks_left--;
    send_chunk(client, "");
    if (client->gone) return;
    if (client->chunks_left > 0) {
        client->due_ns += client->pace_ns;
        sift(client);
    } else if (client->chunks_left == 0) {
        unschedule(client);
    }
}

static long number_after(const char *text, size_t size, const char *word, long otherwise) {
    const char *found = memmem(text, size, word, strlen(word)), *end = text + size;
    if (!found) return otherwise;
    found += strlen(word);
    while (found < end && (*found == ':' || *found == ' ')) found++;
    return found < end && *found >= '0' && *found <= '9' ? strtol(found, NULL, 10) : otherwise;
}

static bool wants_stream(const char *body, size_t size) {
    const char *found = memmem(body, size, "\"stream\"", 8), *end = body + size;
    if (!found) return false;
    for (found += 8; found < end && (*found == ':' || *found == ' ');) found++;
    return found < end && *found == 't';
}

static void answer(struct client *client, bool is_post, const char *body, size_t size) {
    if (!is_post) {
        char block[512], counts[256];
        int length = snprintf(counts, sizeof counts, "{\"requests\":%ld,\"streams\":%ld,\"chunks\":%ld}",
            served_requests, served_streams, served_chunks);
        length = snprintf(block, sizeof block,
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s", length, counts);
        push_out(client, block, length);
        return;
    }
    served_requests++;
    if (!wants_stream(body, size)) {
        push_out(client, whole_answer, whole_answer_size);
        return;
    }
    served_streams++;
    client->chunks_left = number_after(body, size, "\"max_tokens\"", 100);
    client->pace_ns = number_after(body, size, "pace_ms=", 20) * MILLISECOND_NS;
    client->due_ns = now_ns() + client->pace_ns;
    send_chunk(client, "HTTP/1.1 200 OK\r\nserver: measured\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
               "cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n");
    if (!client->gone) schedule(client);
}

/* Bytes in */

/* Answer one whole request at `at`; its size, or 0 while some of it is missing. */
static size_t take_request(struct client *client, char *at, size_t size) {
    const char *end = memmem(at, size, "\r\n\r\n", 4);
    if (!end) return 0;
    size_t head = end + 4 - at, body = 0;
    const char *length = header(at, head, "content-length");
    if (length) body = strtoul(length, NULL, 10);
    if (size < head + body) return 0;
    answer(client, at[0] == 'P', at + head, body);
    return head + body;
}

static void take_requests(struct client *client) {
    size_t used = 0, one;
    while (!client->gone && client->place < 0 && used < client->in_size &&
           (one = take_request(client, client->in + used, client->in_size - used)))
        used += one;
    client->in_size -= used;
    if (used) memmove(client->in, client->in + used, client->in_size);
}

static void receive(struct client *client) {
    for (;;) {
        if (client->in_room - client->in_size < 16384) {
            client->in_room = client->in_room ? 2 * client->in_room : 32768;
            client->in = room_for(client->in, client->in_room);
        }
        size_t room = client->in_room - client->in_size;
        ssize_t got = read(client->fd, client->in + client->in_size, room);
        if (got < 0 && errno == EAGAIN) break;
        if (got <= 0) {
            drop(client);
            return;
        }
        client->in_size += got;
        if ((size_t)got < room) break;
    }
    take_requests(client);
}

static void accept_all(int listener) {
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        struct client *client = room_for(NULL, sizeof *client);
        *client = (struct client){.fd = fd, .place = -1};
        send_at_once(fd);
        watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN, client);
    }
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: upstream PORT\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_TIMERSLACK, 1UL, 0, 0, 0);
    make_whole_answer();
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
    struct sockaddr_in address = loopback(atoi(argv[1]));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096)) die("listen");
    epoll = epoll_create1(0);
    watch(epoll, EPOLL_CTL_ADD, listener, EPOLLIN, NULL);
    struct epoll_event events[512];
    for (;;) {
        int count = wait_for_events(epoll, events, 512, stream_count ? streams[0]->due_ns : now_ns() + 10 * SECOND_NS);
        for (int i = 0; i < count; i++) {
            struct client *client = events[i].data.ptr;
            if (!client) {
                accept_all(listener);
                continue;
            }
            if (!client->gone && events[i].events & EPOLLOUT && client->out_size) push_rest(client);
            if (!client->gone && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) receive(client);
        }
        int64_t now = now_ns();
        while (stream_count && streams[0]->due_ns <= now) {
            struct client *client = streams[0];
            next_chunk(client);
            if (client->place < 0) take_requests(client);
        }
        while (gone) {
            struct client *client = gone;
            gone = client->next_gone;
            free(client->in);
            free(client->out);
            free(client);
        }
    }
}
