// Who is on the other side: certificates, of a server on this machine under names of others.
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>

#include "adapters/postgres/tests/store_scene.h"

namespace once::postgres {
namespace {

int FreePort() {
  const int one = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  if (bind(one, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      getsockname(one, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    throw std::runtime_error("no free port");
  }
  close(one);
  return ntohs(address.sin_port);
}

// An authority of our own and its word for a server named db.test.
void MakeCertificates(const std::string& folder) {
  const std::string commands =
      "cd " + folder +
      " && openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority"
      " -keyout ca.key -out ca.crt"
      " && openssl req -newkey rsa:2048 -nodes -subj /CN=db.test -keyout server.key -out server.csr"
      " && openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2"
      " -out server.crt && chmod 600 server.key";
  if (std::system(("(" + commands + ") >/dev/null 2>&1").c_str()) != 0) {
    throw std::runtime_error("openssl has made no certificates");
  }
}

class TlsTest : public StoreScene {
 protected:
  ~TlsTest() override {
    store_.reset();
    schema_.reset();
  }
  std::string connection() const override { return server_.connection(); }
  StoreOptions Remote(const std::string& settings) {
    return OptionsFor(
        absl::StrCat("hostaddr=127.0.0.1 port=", port_, " dbname=postgres user=once ", settings),
        schema().name());
  }
  std::string Authority() const { return " sslrootcert=" + server_.File("ca.crt"); }
  // As the server sees it.
  bool IsEncrypted() {
    return RunSql(connection(),
                  "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE "
                  "application_name LIKE 'once:%'")[0][0] == "t";
  }

  const int port_ = FreePort();
  PrivateServer server_{absl::StrCat("listen_addresses = '127.0.0.1'\nport = ", port_,
                                     "\nssl = on\nssl_cert_file = '../server.crt'\n"
                                     "ssl_key_file = '../server.key'"),
                        MakeCertificates};
};

TEST_F(TlsTest, AServerWhoseCertificateIsKnownIsTalkedToInSecret) {
  store_ = MustOpen(Remote("host=db.test" + Authority()));
  ASSERT_NE(store_, nullptr);
  MustApply("id");
  EXPECT_TRUE(IsEncrypted());
}

TEST_F(TlsTest, AnotherNameIsRefused) {
  EXPECT_THAT(OpenStore(Remote("host=other.test" + Authority())).status(),
              Says(absl::StatusCode::kUnavailable, "does not match host name"));
}

TEST_F(TlsTest, ACertificateOfAStrangerIsRefusedByDefault) {
  EXPECT_THAT(OpenStore(Remote("host=db.test")).status(),
              Says(absl::StatusCode::kUnavailable, "certificate verify failed"));
}

TEST_F(TlsTest, WhoSaysSoGoesWithout) {
  store_ = MustOpen(Remote("host=db.test sslmode=disable"));
  ASSERT_NE(store_, nullptr);
  EXPECT_FALSE(IsEncrypted());
}

}  // namespace
}  // namespace once::postgres
