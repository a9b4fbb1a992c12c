// OutboxPlaces are the named places of relay, transaction and store at which the process of an
// outbox campaign may be made to die. They take turns.
// Thread-safety: none.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tests/campaign/disk.h"
#include "tests/campaign/outbox_process.h"

namespace once::campaign {

class OutboxPlaces {
 public:
  explicit OutboxPlaces(std::string_view book);

  // "POINT:COUNT", for ONCE_KILL_AT: such that a life comes to it with about so many rows. Of a
  // relay there are few turns to die at, unless its rounds are small: then it makes them so.
  std::string Draw(Dice& dice, std::int64_t rows_per_life, OutboxTask& task);
  void NoteDeath(const std::string& place) { ++deaths_[place.substr(0, place.find(':'))]; }
  const std::map<std::string, std::int64_t>& deaths() const { return deaths_; }
  // Where no life has ended.
  std::vector<std::string> FindUnreached() const;

 private:
  std::vector<std::string> points_;
  std::size_t next_point_ = 0;
  std::map<std::string, std::int64_t> deaths_;
};

}  // namespace once::campaign
