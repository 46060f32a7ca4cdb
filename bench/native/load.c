/* Sends one request again and again, and says what came of it.
 *
 *   load closed|rate|stream|hold -p PORT -b BODY [-c CONNECTIONS] [-r PER_SECOND] [-n CHUNKS] [-k KEY]
 *        [-s SPREAD_SECONDS] [-w WARM_UP_SECONDS] [-d SECONDS]
 *
 * closed   each connection sends its next request as soon as the answer is complete
 * rate     an open loop: requests fall due evenly, wait where no connection is free, and count from when they were due
 * stream   each connection asks for one stream after the other; they begin spread over SPREAD_SECONDS
 * hold     opens CONNECTIONS streams and keeps them
 *
 * Says "measuring" when the warm-up is over and "measured" when the time is (hold: "held" when each stream has its
 * first chunk), then finishes what is under way and prints one JSON object. An answer counts when it is a 200, whole,
 * and (of streams) has all its chunks. One thread, epoll. */
#include "wire.h"

enum mode { CLOSED, RATE, STREAM, HOLD };
static const char *const mode_names[] = {"closed", "rate", "stream", "hold"};

struct series { /* of times, in units of 100 ns */
    uint32_t *values;
    size_t count, room;
};

enum framing { BY_LENGTH, BY_CHUNKS };
enum piece { SIZE_LINE, SIZE_REST, DATA, DATA_END, LAST_LINE };

struct flow {
    int fd;
    bool busy, connecting, in_body;
    int64_t begins_ns, asked_ns, last_chunk_ns;
    size_t sent;
    char head[8192]; /* of the answer; then the event that is not complete yet */
    size_t head_size;
    int status;
    enum framing framing;
    enum piece piece;
    uint64_t left; /* of the body, or of the piece */
    size_t body_size;
    long chunks;
    bool done_seen, broken;
};

static enum mode mode;
static int epoll, flow_count = 64;
static long chunks_wanted = 100;
static struct flow *flows;
static struct sockaddr_in server;
static char *request;
static size_t request_size;
static int64_t measure_from_ns, measure_until_ns;
static struct series latencies, first_chunks, transits;
static long answered, answered_in_time, chunks_in_time, failed, reopened, flows_with_chunk;
static char complaint[160];
static int64_t *due; /* a ring of requests that wait for a connection (rate) */
static size_t due_from, due_to;
enum { DUE_ROOM = 1 << 18 };

static void note(struct series *series, int64_t ns) {
    if (series->count == series->room) {
        series->room = series->room ? 2 * series->room : 65536;
        series->values = room_for(series->values, series->room * sizeof *series->values);
    }
    series->values[series->count++] = ns < 0 ? 0 : ns / 100 > UINT32_MAX ? UINT32_MAX : ns / 100;
}

static bool is_measured(int64_t ns) { return ns >= measure_from_ns && ns < measure_until_ns; }

static void fail(const char *why) {
    failed++;
    if (!*complaint) snprintf(complaint, sizeof complaint, "%s", why);
}

/* Connections */

static void open_flow(struct flow *flow) {
    flow->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (flow->fd < 0) die("socket");
    send_at_once(flow->fd);
    flow->connecting = true;
    if (connect(flow->fd, (struct sockaddr *)&server, sizeof server) && errno != EINPROGRESS) die("connect");
    watch(epoll, EPOLL_CTL_ADD, flow->fd, EPOLLIN | EPOLLOUT, flow);
}

static void reopen(struct flow *flow) {
    reopened++;
    close(flow->fd);
    flow->busy = false;
    open_flow(flow);
}

static void send_rest(struct flow *flow) {
    while (flow->sent < request_size) {
        ssize_t taken = write(flow->fd, request + flow->sent, request_size - flow->sent);
        if (taken < 0) {
            if (errno == EAGAIN) watch(epoll, EPOLL_CTL_MOD, flow->fd, EPOLLIN | EPOLLOUT, flow);
            return; /* any other error comes back as an event */
        }
        flow->sent += taken;
    }
}

static void ask(struct flow *flow, int64_t asked_ns) {
    flow->busy = true;
    flow->asked_ns = asked_ns;
    flow->sent = flow->head_size = flow->body_size = 0;
    flow->chunks = 0;
    flow->in_body = flow->done_seen = flow->broken = false;
    if (!flow->connecting) send_rest(flow);
}

static void serve_due(void) {
    for (int i = 0; i < flow_count && due_from != due_to; i++)
        if (flows[i].fd >= 0 && !flows[i].busy) ask(&flows[i], due[due_from++ % DUE_ROOM]);
}

static void ask_again(struct flow *flow, int64_t now) {
    if (mode == RATE) {
        if (due_from != due_to) ask(flow, due[due_from++ % DUE_ROOM]);
    } else if (now < measure_until_ns) {
        ask(flow, now);
    }
}

static void finish(struct flow *flow, bool must_close) {
    int64_t now = now_ns();
    flow->busy = false;
    if (flow->status != 200)
        fail("an answer was no 200");
    else if (flow->broken || (mode >= STREAM && (flow->chunks != chunks_wanted || !flow->done_seen)))
        fail("a stream was not whole");
    else if (mode < STREAM && flow->body_size < 64)
        fail("an answer was empty");
    else {
        answered++;
        if (is_measured(now)) answered_in_time++;
        if (is_measured(flow->asked_ns) && mode < STREAM) note(&latencies, now - flow->asked_ns);
    }
    if (must_close) reopen(flow);
    ask_again(flow, now);
}

/* Answers in */

static void take_event(struct flow *flow, const char *event, size_t size, int64_t now) {
    if (memmem(event, size, "data: [DONE]", 12)) {
        flow->done_seen = true;
        return;
    }
    const char *stamp = memmem(event, size, "\"" STAMP, strlen(STAMP) + 1);
    if (!stamp) return;
    int64_t sent_ns = strtoll(stamp + strlen(STAMP) + 1, NULL, 10);
    if (!flow->chunks++) {
        flows_with_chunk++;
        if (is_measured(flow->asked_ns)) note(&first_chunks, now - flow->asked_ns);
    }
    if (is_measured(now)) {
        chunks_in_time++;
        note(&transits, now - sent_ns);
    }
}

/* The payload of a stream: events may come in any pieces. */
static void take_text(struct flow *flow, const char *text, size_t size) {
    int64_t now = now_ns();
    while (size) {
        size_t room = sizeof flow->head - 1 - flow->head_size, part = size < room ? size : room;
        if (!part) {
            flow->broken = true;
            return;
        }
        memcpy(flow->head + flow->head_size, text, part);
        flow->head_size += part, text += part, size -= part;
        flow->head[flow->head_size] = 0;
        char *start = flow->head, *end;
        while ((end = strstr(start, "\n\n"))) {
            take_event(flow, start, end - start, now);
            start = end + 2;
        }
        flow->head_size -= start - flow->head;
        memmove(flow->head, start, flow->head_size);
    }
}

static void take_payload(struct flow *flow, const char *bytes, size_t size) {
    flow->body_size += size;
    if (mode >= STREAM && flow->status == 200) take_text(flow, bytes, size);
}

/* Whether the answer is complete. */
static bool take_chunked(struct flow *flow, const char *at, const char *end) {
    while (at < end) {
        if (flow->piece == DATA) {
            size_t part = (uint64_t)(end - at) < flow->left ? (size_t)(end - at) : flow->left;
            take_payload(flow, at, part);
            at += part;
            flow->left -= part;
            if (!flow->left) flow->piece = DATA_END;
            continue;
        }
        char byte = *at++;
        if (byte == '\r') continue;
        switch (flow->piece) {
        case SIZE_LINE:
            if (byte != '\n' && byte != ';') {
                flow->left = flow->left * 16 + (byte <= '9' ? byte - '0' : (byte | 32) - 'a' + 10);
                continue;
            }
            flow->piece = byte == ';' ? SIZE_REST : flow->left ? DATA : LAST_LINE;
            break;
        case SIZE_REST:
            if (byte == '\n') flow->piece = flow->left ? DATA : LAST_LINE;
            break;
        case DATA_END:
            flow->piece = SIZE_LINE;
            break;
        default:
            if (byte == '\n') return true;
        }
    }
    return false;
}

static bool take_bytes(struct flow *flow, const char *bytes, size_t size) {
    const char *end = bytes + size;
    if (!flow->in_body) {
        size_t room = sizeof flow->head - 1 - flow->head_size, had = flow->head_size, part = size < room ? size : room;
        memcpy(flow->head + had, bytes, part);
        flow->head_size += part;
        flow->head[flow->head_size] = 0;
        char *blank = strstr(flow->head, "\r\n\r\n");
        if (!blank) return false;
        size_t head = blank + 4 - flow->head;
        const char *length = header(flow->head, head, "content-length");
        flow->status = atoi(flow->head + 9);
        flow->framing = length ? BY_LENGTH : BY_CHUNKS;
        flow->left = length ? strtoull(length, NULL, 10) : 0;
        flow->piece = SIZE_LINE;
        flow->in_body = true;
        flow->head_size = 0;
        bytes += head - had;
    }
    if (flow->framing == BY_CHUNKS) return take_chunked(flow, bytes, end);
    take_payload(flow, bytes, end - bytes);
    return flow->body_size >= flow->left;
}

static void on_event(struct flow *flow, uint32_t what) {
    static char buffer[1 << 18];
    if (what & EPOLLOUT) {
        int error = 0;
        socklen_t size = sizeof error;
        if (flow->connecting && (getsockopt(flow->fd, SOL_SOCKET, SO_ERROR, &error, &size) || error)) {
            fail("a connection was refused");
            usleep(1000);
            reopen(flow);
            return;
        }
        flow->connecting = false;
        watch(epoll, EPOLL_CTL_MOD, flow->fd, EPOLLIN, flow);
        if (flow->busy) send_rest(flow);
    }
    if (!(what & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
    ssize_t got = read(flow->fd, buffer, sizeof buffer);
    if (got > 0) {
        if (flow->busy && take_bytes(flow, buffer, got)) finish(flow, false);
    } else if (got == 0 || errno != EAGAIN) {
        if (flow->busy) {
            fail("a connection ended before its answer");
            flow->busy = false;
        }
        reopen(flow);
        if (mode != HOLD) ask_again(flow, now_ns());
    }
}

/* The run */

static void read_request(const char *path, int port, const char *key) {
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END)) die(path);
    long body = ftell(file);
    rewind(file);
    request = room_for(NULL, body + 4096);
    int head = snprintf(request, 4096,
        "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAccept: application/json\r\n"
        "Content-Type: application/json\r\nUser-Agent: OpenAI/Python 2.8.1\r\nX-Stainless-Lang: python\r\n"
        "X-Stainless-Package-Version: 2.8.1\r\nX-Stainless-Retry-Count: 0\r\nX-Use-Case: bench\r\n"
        "Authorization: Bearer %s\r\nAccept-Encoding: gzip, deflate\r\nContent-Length: %ld\r\n\r\n", port, key, body);
    if (fread(request + head, 1, body, file) != (size_t)body) die(path);
    request_size = head + body;
    fclose(file);
}

static void say(const char *word) {
    printf("%s\n", word);
    fflush(stdout);
}

static int ascending(const void *one, const void *other) {
    uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;
    return a < b ? -1 : a > b;
}

static void print_series(const char *name, struct series *series) {
    if (!series->count) return;
    qsort(series->values, series->count, sizeof *series->values, ascending);
    size_t last = series->count - 1;
    printf(",\"%s\":{\"count\":%zu,\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,\"max\":%.1f}", name, series->count,
        series->values[(size_t)(last * 0.5)] / 10.0, series->values[(size_t)(last * 0.9)] / 10.0,
        series->values[(size_t)(last * 0.99)] / 10.0, series->values[last] / 10.0);
}

static bool something_is_under_way(void) {
    if (due_from != due_to) return true;
    for (int i = 0; i < flow_count; i++)
        if (flows[i].busy) return true;
    return false;
}

int main(int argc, char **argv) {
    const char *body = NULL, *key = "";
    double warm_up = 0.5, seconds = 2, spread = 0, rate = 200;
    int port = 0, option;
    for (mode = CLOSED; argc > 1 && mode <= HOLD && strcmp(argv[1], mode_names[mode]);) mode++;
    optind = 2;
    while ((option = getopt(argc, argv, "p:b:c:r:n:k:s:w:d:")) != -1) switch (option) {
        case 'p': port = atoi(optarg); break;
        case 'b': body = optarg; break;
        case 'c': flow_count = atoi(optarg); break;
        case 'r': rate = atof(optarg); break;
        case 'n': chunks_wanted = atol(optarg); break;
        case 'k': key = optarg; break;
        case 's': spread = atof(optarg); break;
        case 'w': warm_up = atof(optarg); break;
        case 'd': seconds = atof(optarg); break;
        default: return 2;
    }
    if (argc < 2 || mode > HOLD || !port || !body) {
        fprintf(stderr, "usage: load closed|rate|stream|hold -p PORT -b BODY ...\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_TIMERSLACK, 1UL, 0, 0, 0);
    server = loopback(port);
    read_request(body, port, key);
    epoll = epoll_create1(0);
    flows = calloc(flow_count, sizeof *flows);
    due = room_for(NULL, DUE_ROOM * sizeof *due);

    int64_t begin = now_ns(), next_due = begin + 20 * MILLISECOND_NS, gap = SECOND_NS / rate;
    measure_from_ns = begin + warm_up * SECOND_NS;
    measure_until_ns = measure_from_ns + seconds * SECOND_NS;
    int64_t give_up_ns = measure_until_ns + 5 * SECOND_NS;
    for (int i = 0; i < flow_count; i++) {
        flows[i].fd = -1;
        flows[i].begins_ns = begin + (int64_t)(spread * SECOND_NS * i / flow_count);
    }
    int opened = 0;
    bool said_measuring = false, said_measured = false, said_held = false;
    struct epoll_event events[1024];
    for (;;) {
        int64_t now = now_ns(), wake;
        if (!said_measuring && now >= measure_from_ns) said_measuring = true, say("measuring");
        if (!said_measured && now >= measure_until_ns) said_measured = true, say("measured");
        if (mode == HOLD && said_measured) break;
        if (said_measured && (now >= give_up_ns || !something_is_under_way())) break;
        for (; opened < flow_count && flows[opened].begins_ns <= now && !said_measured; opened++) {
            open_flow(&flows[opened]);
            if (mode != RATE) ask(&flows[opened], now_ns());
        }
        for (; mode == RATE && next_due <= now && next_due < measure_until_ns; next_due += gap) {
            due[due_to++ % DUE_ROOM] = next_due;
            if (due_to - due_from > DUE_ROOM) return fprintf(stderr, "the gateway is overloaded\n"), 1;
        }
        if (due_from != due_to) serve_due();
        if (mode == HOLD && !said_held && flows_with_chunk == flow_count) said_held = true, say("held");

        wake = !said_measuring ? measure_from_ns : !said_measured ? measure_until_ns : give_up_ns;
        if (opened < flow_count && flows[opened].begins_ns < wake) wake = flows[opened].begins_ns;
        if (mode == RATE && next_due < measure_until_ns && next_due < wake) wake = next_due;
        int count = wait_for_events(epoll, events, 1024, wake);
        for (int i = 0; i < count; i++) on_event(events[i].data.ptr, events[i].events);
    }
    printf("{\"answered\":%ld,\"answered_in_time\":%ld,\"chunks_in_time\":%ld,\"failed\":%ld,\"reopened\":%ld,"
        "\"unfinished\":%s,\"complaint\":\"%s\"", answered, answered_in_time, chunks_in_time, failed, reopened,
        mode != HOLD && something_is_under_way() ? "true" : "false", complaint);
    print_series("latency_us", &latencies);
    print_series("first_chunk_us", &first_chunks);
    print_series("transit_us", &transits);
    printf("}\n");
    return 0;
}
