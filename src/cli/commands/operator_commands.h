// The operator's subcommands of `once`: their flags and help, and the way from there to the store.
#pragma once

#include <memory>

#include "CLI/CLI.hpp"
#include "src/cli/exit_code.h"

namespace once::cli {

// Adds `position`, `failures`, `loss`, `redrive`, `discard`, `resolve` and `store` to an app, which
// must outlive it.
class OperatorCommands {
 public:
  explicit OperatorCommands(CLI::App& app);
  ~OperatorCommands();

  // After the app has parsed: whether one of them was chosen …
  bool is_chosen() const;
  // … and then its exit code, with everything said.
  ExitCode Run();

 private:
  struct Flags;
  std::unique_ptr<Flags> flags_;
};

}  // namespace once::cli
