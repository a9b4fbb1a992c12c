// An HTTP service behind Wrap: a client that lost the response repeats its request under the same
// Idempotency-Key and gets the response of the first time, also after the service was killed.
//
//   04_wrap_http_handler [PORT]     POST an amount; writes charges.db and charges.txt
#include <once/once.h>
#include <once/sqlite/store.h>

#include <boost/asio.hpp>
#include <boost/beast.hpp>
#include <cstdio>
#include <fstream>
#include <thread>

namespace http = boost::beast::http;
using boost::asio::ip::tcp;
using Request = http::request<http::string_body>;

absl::StatusOr<std::string> Charge(const Request& request) {
  if (request.body().empty()) return absl::InvalidArgumentError("charge what?");
  std::ofstream("charges.txt", std::ios::app) << request.body() << std::endl;
  return "charged " + request.body() + " at " + absl::FormatTime(absl::Now());
}

http::status StatusOf(const absl::StatusOr<once::CallAnswer>& answer) {
  if (absl::IsInvalidArgument(answer.status())) return http::status::bad_request;  // no key
  if (!answer.ok()) return http::status::service_unavailable;                      // repeat it
  if (answer->has_happened()) return http::status::created;
  return answer->is_settled() ? http::status::unprocessable_entity : http::status::conflict;
}

void Serve(const once::Wrapped<Request>& charge, tcp::socket socket) {
  boost::beast::flat_buffer buffer;
  boost::system::error_code error;
  Request request;
  http::read(socket, buffer, request, error);
  if (error) return;
  const absl::StatusOr<once::CallAnswer> answer = charge(request);
  const std::string body = answer.ok() ? answer->result.value_or("") : "";
  http::response<http::string_body> response(StatusOf(answer), request.version(), body);
  response.prepare_payload();
  http::write(socket, response, error);
}

int main(int argc, char** argv) {
  const auto store = once::sqlite::OpenStore({.path = "charges.db"}).value();
  const auto charge = once::Wrap<Request>(
      {.store = store,
       .scope = "charges",
       .id = [](const Request& request) { return std::string(request["Idempotency-Key"]); },
       .fingerprint = [](const Request& r) { return once::Fingerprint::Of(r.body()); }},
      Charge);
  boost::asio::io_context io;
  const int port = argc > 1 ? std::atoi(argv[1]) : 8080;
  tcp::acceptor acceptor(
      io, {boost::asio::ip::address_v4::loopback(), static_cast<std::uint16_t>(port)});
  std::printf("listening on port %d\n", acceptor.local_endpoint().port());
  std::fflush(stdout);
  while (true) std::thread(Serve, charge.value(), acceptor.accept()).detach();
}
