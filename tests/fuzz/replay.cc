// The main() of a fuzz target where there is no libFuzzer: plays the seeds, the files that
// are named, and mutations of both, the same ones in every run.
//
//   fuzz_<target> [--mutations=N] [FILE]...
//   fuzz_<target> --seeds=FOLDER
//
// The input that ends the program is left behind in the file fuzz_<target>.finding.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "once/testing/oracle.h"
#include "tests/fuzz/fuzz_target.h"

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv);

namespace once::testing {
namespace {

constexpr std::size_t kInputBytesMax = 4096;  // as libFuzzer's default

// For the signal handler: what is being played, and where to leave it.
const std::string* playing = nullptr;
std::string finding;

void KeepInput(int signal) {
  const int file = ::open(finding.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  const bool is_kept = file >= 0 && ::write(file, playing->data(), playing->size()) >= 0;
  constexpr std::string_view kWord = "the input is in ";
  const bool is_said = is_kept && ::write(STDERR_FILENO, kWord.data(), kWord.size()) > 0 &&
                       ::write(STDERR_FILENO, finding.data(), finding.size()) > 0 &&
                       ::write(STDERR_FILENO, "\n", 1) > 0;
  if (!is_said) std::_Exit(2);
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

void Play(const std::string& input) {
  playing = &input;
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(input.data()), input.size());
}

std::string ReadFile(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// One small change.
void Change(SplitMix& random, const std::vector<std::string>& inputs, std::string& input) {
  const auto place = [&](std::size_t size) {
    return static_cast<std::size_t>(random.Next() % (size + 1));
  };
  const std::size_t at = place(input.size());
  const std::size_t length = place(std::min<std::size_t>(input.size() - at, 16));
  switch (random.Below(6)) {
    case 0:
      if (at < input.size()) input[at] = static_cast<char>(input[at] ^ (1 << random.Below(8)));
      break;
    case 1:
      if (at < input.size()) input[at] = static_cast<char>(random.Below(256));
      break;
    case 2:
      input.insert(at, 1, static_cast<char>(random.Below(256)));
      break;
    case 3:
      input.erase(at, length);
      break;
    case 4:
      input.insert(place(input.size()), input.substr(at, length));
      break;
    default: {
      const std::string& other = inputs[place(inputs.size() - 1)];
      input = input.substr(0, at) + other.substr(place(other.size()));
    }
  }
}

void PlayMutations(const std::vector<std::string>& inputs, int mutations) {
  for (int i = 0; i < mutations; ++i) {
    SplitMix random(static_cast<std::uint64_t>(i));
    std::string input = inputs[static_cast<std::size_t>(random.Next() % inputs.size())];
    for (int changes = 1 + random.Below(4); changes > 0; --changes) Change(random, inputs, input);
    input.resize(std::min(input.size(), kInputBytesMax));
    Play(input);
  }
}

int Main(const std::vector<std::string>& words) {
  constexpr std::string_view kMutations = "--mutations=";
  std::vector<std::string> inputs = FuzzSeeds();
  int mutations = 0;
  for (const std::string& word : words) {
    if (word.starts_with(kMutations)) {
      mutations = std::atoi(word.substr(kMutations.size()).c_str());
    } else if (std::filesystem::exists(word)) {
      inputs.push_back(ReadFile(word));
    } else {
      std::fprintf(stderr, "there is no %s\n", word.c_str());
      return 2;
    }
  }
  for (const int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) {
    std::signal(signal, KeepInput);
  }
  Play("");
  for (const std::string& input : inputs) Play(input);
  PlayMutations(inputs, mutations);
  std::printf("%zu inputs and %d mutations\n", inputs.size(), mutations);
  return 0;
}

}  // namespace
}  // namespace once::testing

int main(int argc, char** argv) {
  LLVMFuzzerInitialize(&argc, &argv);
  once::testing::finding =
      std::filesystem::absolute(std::filesystem::path(argv[0]).filename().string() + ".finding")
          .string();
  return once::testing::Main({argv + 1, argv + argc});
}
