// RunOnce and RunPrinted run the `once` command that was built beside the tests, as a person would.
// REQUIRES: ONCE_COMMAND is defined as its path.
#pragma once

#include <fcntl.h>
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <utility>
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

// `input` becomes its standard input.
inline CommandResult RunProgram(std::vector<std::string> arguments, int input) {
  const ScratchFolder folder;
  const std::string output = folder.File("output");
  const std::string errors = folder.File("errors");
  std::vector<char*> words;
  for (std::string& argument : arguments) words.push_back(argument.data());
  words.push_back(nullptr);
  const pid_t child = ::fork();
  if (child < 0) throw std::runtime_error("fork failed");
  if (child == 0) {
    const auto redirect = [](const char* path, int to) {
      const int opened = ::open(path, O_CREAT | O_WRONLY, 0600);
      if (opened < 0 || ::dup2(opened, to) < 0) ::_exit(127);
    };
    if (::dup2(input, STDIN_FILENO) < 0) ::_exit(127);
    redirect(output.c_str(), STDOUT_FILENO);
    redirect(errors.c_str(), STDERR_FILENO);
    ::execv(words.front(), words.data());
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

// Without a terminal: nobody answers questions.
inline CommandResult RunOnce(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), ONCE_COMMAND);
  const int nothing = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  const CommandResult result = RunProgram(std::move(arguments), nothing);
  ::close(nothing);
  return result;
}

// The commands that a sentence shows, between backquotes.
inline std::vector<std::string> FindCommands(const std::string& sentence) {
  std::vector<std::string> commands;
  for (std::size_t begin = sentence.find("`once "); begin != std::string::npos;) {
    const std::size_t end = sentence.find('`', begin + 1);
    commands.push_back(sentence.substr(begin + 1, end - begin - 1));
    begin = sentence.find("`once ", end + 1);
  }
  return commands;
}

// Gives a command to a shell exactly as it was printed. At the terminal sits somebody who says yes,
// in a folder where STORE is a link to `store`.
inline CommandResult RunPrinted(const std::string& command, const std::string& store) {
  const ScratchFolder folder;
  std::filesystem::create_symlink(store, folder.File("STORE"));
  int keyboard = -1;
  int terminal = -1;
  if (::openpty(&keyboard, &terminal, nullptr, nullptr, nullptr) != 0 ||
      ::write(keyboard, "y\n", 2) != 2) {
    throw std::runtime_error("no terminal");
  }
  const std::string place = std::filesystem::path(ONCE_COMMAND).parent_path();
  CommandResult result = RunProgram(
      {"/bin/sh", "-c", "cd \"$1\" && PATH=\"$2:$PATH\" && " + command, "sh", folder.path(), place},
      terminal);
  ::close(terminal);
  ::close(keyboard);
  return result;
}

}  // namespace once::testing
