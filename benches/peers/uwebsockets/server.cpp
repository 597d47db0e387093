// The server of the column uWebSockets. It takes the options of the hidden command `serve` of this
// package that it supports, and speaks the same protocol with the load generator: it prints its port
// and, before broadcasts, the number of connections once all of them are open; it reads the orders
// `stat` and `send` from standard input, and exits at its end.

#include <malloc.h>
#include <sched.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <future>
#include <iostream>
#include <string>
#include <string_view>
#include <thread>

#include "App.h"

namespace {

constexpr int SERVER_CORE = 0;
constexpr size_t BROADCAST_LENGTH = 128;
constexpr char BROADCAST_BYTE = 0x42;
constexpr unsigned MAX_MESSAGE = 16 << 20;
constexpr std::string_view EVERYONE = "everyone";

struct Nothing {};

[[noreturn]] void fail(const std::string &why) {
    std::cerr << "uwebsockets: " << why << std::endl;
    std::_Exit(1);
}

void say(const std::string &line) {
    // Flushed: the load generator waits for it.
    std::cout << line << std::endl;
}

void pin_to(int core) {
    if (sysconf(_SC_NPROCESSORS_ONLN) < 2) {
        return;
    }
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0) {
        fail(std::string("cannot pin to a core: ") + strerror(errno));
    }
}

/// Returns the number of connections of a broadcast, or 0 for an echo.
size_t parse(int argc, char **argv) {
    size_t members = 0;
    for (int at = 1; at < argc; at++) {
        std::string_view option = argv[at];
        if (option == "--broadcast" && at + 1 < argc) {
            members = std::strtoull(argv[++at], nullptr, 10);
        } else if ((option == "--peer" || option == "--manner") && at + 1 < argc) {
            // There is one peer, and one manner: what a handler sends is corked by the library.
            at++;
        } else if (option != "serve" && option != "--open" && option != "--count") {
            fail("no such option: " + std::string(option));
        }
    }
    return members;
}

/// Takes orders until the end of standard input, in a thread of its own.
void take_orders(uWS::Loop *loop, uWS::App *app) {
    const std::string message(BROADCAST_LENGTH, BROADCAST_BYTE);
    std::string order;
    while (std::getline(std::cin, order)) {
        if (order == "stat") {
            struct mallinfo2 info = mallinfo2();
            say(std::to_string(info.uordblks + info.hblkhd));
        } else if (order == "send") {
            std::promise<void> sent;
            loop->defer([&] {
                app->publish(EVERYONE, message, uWS::OpCode::BINARY);
                sent.set_value();
            });
            sent.get_future().wait();
            say("sent");
        } else {
            fail("no such order: " + order);
        }
    }
    std::_Exit(0);
}

} // namespace

int main(int argc, char **argv) {
    size_t members = parse(argc, argv);
    size_t joined = 0;
    pin_to(SERVER_CORE);

    uWS::App app;
    app.ws<Nothing>("/*", {
        .maxPayloadLength = MAX_MESSAGE,
        // By default, an answer that the socket does not take beyond 64 KiB is dropped.
        .maxBackpressure = MAX_MESSAGE,
        .open = [&](auto *ws) {
            if (members == 0) {
                return;
            }
            ws->subscribe(EVERYONE);
            if (++joined == members) {
                say(std::to_string(joined));
            }
        },
        .message = [](auto *ws, std::string_view message, uWS::OpCode opcode) {
            ws->send(message, opcode);
        },
    });
    app.listen("127.0.0.1", 0, [](us_listen_socket_t *socket) {
        if (socket == nullptr) {
            fail("cannot listen");
        }
        say(std::to_string(us_socket_local_port(0, reinterpret_cast<us_socket_t *>(socket))));
    });
    std::thread(take_orders, uWS::Loop::get(), &app).detach();
    app.run();
    fail("the loop ended");
}
