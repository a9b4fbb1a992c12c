// Seeds as files, for libFuzzer: `fuzz_<target> --seeds=FOLDER` writes them and ends.
#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>

#include "tests/fuzz/fuzz_target.h"

namespace once::testing {

bool WriteSeeds(const std::string& folder) {
  const std::vector<std::string> seeds = FuzzSeeds();
  for (std::size_t i = 0; i < seeds.size(); ++i) {
    const std::string path = folder + "/seed-" + std::to_string(i);
    std::ofstream file(path, std::ios::binary);
    file << seeds[i] << std::flush;
    if (file.good()) continue;
    std::fprintf(stderr, "cannot write %s\n", path.c_str());
    return false;
  }
  return true;
}

}  // namespace once::testing

// libFuzzer calls it first; replay.cc as well.
extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  constexpr std::string_view kSeeds = "--seeds=";
  for (int i = 1; i < *argc; ++i) {
    const std::string_view word = (*argv)[i];
    if (!word.starts_with(kSeeds)) continue;
    std::exit(once::testing::WriteSeeds(std::string(word.substr(kSeeds.size()))) ? 0 : 1);
  }
  return 0;
}
