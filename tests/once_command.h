// RunOnce runs the `once` command that was built beside the tests, as a person would.
// REQUIRES: ONCE_COMMAND is defined as its path.
#pragma once

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/scratch_folder.h"

namespace once::testing {

struct CommandResult {
  int code = -1;  // -1: it did not exit by itself
  std::string output;
  std::string errors;

  // Standard output as the one JSON document that it must be; discarded when it is none.
  nlohmann::json Json() const {
    return nlohmann::json::parse(output, nullptr, /*allow_exceptions=*/false);
  }
};

// Without a terminal: nobody answers questions.
inline CommandResult RunOnce(std::vector<std::string> arguments) {
  const ScratchFolder folder;
  const std::string output = folder.File("output");
  const std::string errors = folder.File("errors");
  std::string program = ONCE_COMMAND;
  std::vector<char*> words = {program.data()};
  for (std::string& argument : arguments) words.push_back(argument.data());
  words.push_back(nullptr);
  const pid_t child = ::fork();
  if (child < 0) throw std::runtime_error("fork failed");
  if (child == 0) {
    const auto redirect = [](const char* path, int mode, int to) {
      const int opened = ::open(path, mode, 0600);
      if (opened < 0 || ::dup2(opened, to) < 0) ::_exit(127);
    };
    redirect("/dev/null", O_RDONLY, STDIN_FILENO);
    redirect(output.c_str(), O_CREAT | O_WRONLY, STDOUT_FILENO);
    redirect(errors.c_str(), O_CREAT | O_WRONLY, STDERR_FILENO);
    ::execv(program.c_str(), words.data());
    ::_exit(127);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  const auto read = [](const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  return {.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1,
          .output = read(output),
          .errors = read(errors)};
}

}  // namespace once::testing
