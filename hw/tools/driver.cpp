// Feeds a Verilated model from files and writes what it gives to files: one process for a whole run.
//
// Usage: sim PLAN. PLAN is a text file of whitespace-separated fields, read in this order:
//   seed, max idle cycles, cycles after the last word, 1 to record cycles, 1 for strict checks,
//   then for each input:  file of words, words, file of the stall pattern
//   and for each output:  file for the words, words expected, file of the stall pattern.
// A stall pattern is a byte per cycle, 1 = no transfer may start, repeated without end.
// Recorded cycles go to the words' path with ".cycles" appended, as uint64.
// "ports.h" is generated: it binds the model's ports by name.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "verilated.h"

struct Port {
  const char* name;
  void* data;
  size_t bytes;        // of a word
  CData *valid, *ready;
};

#include "ports.h"  // Model; bind(Model&, vector<Port>& inputs, vector<Port>& outputs); clock; reset

namespace {

using Bytes = std::vector<uint8_t>;

Bytes read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    std::fprintf(stderr, "cannot read %s\n", path.c_str());
    std::exit(3);
  }
  return Bytes(std::istreambuf_iterator<char>(file), {});
}

class Writer {
 public:
  void open(const std::string& path) { file_ = check(std::fopen(path.c_str(), "wb")); }
  void write(const void* data, size_t size) {
    if (file_ && std::fwrite(data, 1, size, file_) != size) check(nullptr);
  }
  void close() {
    if (file_ && std::fclose(file_)) check(nullptr);
    file_ = nullptr;
  }

 private:
  static FILE* check(FILE* file) {
    if (!file) {
      std::perror("cannot write the results");
      std::exit(3);
    }
    return file;
  }
  FILE* file_ = nullptr;
};

struct Side {  // one port during the run
  Port port;
  uint64_t words = 0, moved = 0;
  Bytes stalls, data;  // data: all words of an input; the waiting word of an output
  size_t at = 0;       // in the stall pattern
  bool waiting = false;
  Writer out, cycles;

  bool stalled() {
    const bool result = stalls[at];
    if (++at == stalls.size()) at = 0;
    return result;
  }
};

struct Run {
  VerilatedContext context;
  std::unique_ptr<Model> model;
  std::vector<Side> inputs, outputs;
  uint64_t seed, max_idle, drain;
  int record, strict;

  explicit Run(const char* plan) {
    std::ifstream file(plan);
    file >> seed >> max_idle >> drain >> record >> strict;
    context.randReset(2);
    context.randSeed(static_cast<int>(seed));
    model = std::make_unique<Model>(&context);
    std::vector<Port> in, out;
    bind(*model, in, out);
    std::string data, stalls;
    for (const Port& port : in) {
      Side side{port};
      file >> data >> side.words >> stalls;
      side.data = read(data);
      side.stalls = read(stalls);
      if (record) side.cycles.open(data + ".cycles");
      inputs.push_back(std::move(side));
    }
    for (const Port& port : out) {
      Side side{port};
      file >> data >> side.words >> stalls;
      side.out.open(data);
      side.data.resize(port.bytes);
      side.stalls = read(stalls);
      if (record) side.cycles.open(data + ".cycles");
      outputs.push_back(std::move(side));
    }
    if (!file) {
      std::fprintf(stderr, "cannot read %s\n", plan);
      std::exit(3);
    }
  }

  void half(int level) {
    clock(*model, level);
    model->eval();
    context.timeInc(1);
  }

  void hold_reset() {
    for (Side& side : inputs) *side.port.valid = 0;
    for (Side& side : outputs) *side.port.ready = 0;
    reset(*model, true);
    for (int cycle = 0; cycle < 16; ++cycle) half(0), half(1);
    reset(*model, false);
  }

  // One clock cycle; returns the number of words that moved.
  int cycle(uint64_t now) {
    for (Side& side : inputs) {
      const bool stalled = side.stalled();
      if (!side.waiting && !stalled && side.moved < side.words) {
        side.waiting = true;  // a word that is offered stays until it is taken
        std::memcpy(side.port.data, &side.data[side.moved * side.port.bytes], side.port.bytes);
      }
      *side.port.valid = side.waiting;
    }
    if (strict) check_independence(now);
    for (Side& side : outputs) *side.port.ready = !side.stalled();
    half(0);
    int moved = 0;
    for (Side& side : inputs)
      if (side.waiting && *side.port.ready) moved += take(side, now);
    for (Side& side : outputs) {
      check_kept(side, now);
      if (!*side.port.valid) continue;
      if (*side.port.ready) {
        side.out.write(side.port.data, side.port.bytes);
        moved += take(side, now);
      } else {
        side.waiting = true;
        std::memcpy(side.data.data(), side.port.data, side.port.bytes);
      }
    }
    half(1);
    return moved;
  }

  int take(Side& side, uint64_t now) {
    side.waiting = false;
    ++side.moved;
    side.cycles.write(&now, sizeof now);
    return 1;
  }

  void check_kept(const Side& side, uint64_t now) {
    if (!side.waiting) return;
    if (!*side.port.valid) finish("dropped", now, side.port.name);
    if (std::memcmp(side.data.data(), side.port.data, side.port.bytes)) finish("changed", now, side.port.name);
  }

  // TVALID and TDATA must not depend on TREADY within the cycle.
  void check_independence(uint64_t now) {
    std::vector<std::pair<bool, Bytes>> seen;
    for (int ready = 0; ready < 2; ++ready) {
      for (Side& side : outputs) *side.port.ready = ready;
      clock(*model, 0);
      model->eval();
      for (size_t i = 0; i < outputs.size(); ++i) {
        const Port& port = outputs[i].port;
        const uint8_t* data = static_cast<const uint8_t*>(port.data);
        std::pair<bool, Bytes> word(*port.valid, Bytes(data, data + (*port.valid ? port.bytes : 0)));
        if (!ready) seen.push_back(word);
        else if (seen[i] != word) finish("depends", now, port.name);
      }
    }
  }

  bool complete() const {
    for (const Side& side : inputs)
      if (side.moved < side.words) return false;
    for (const Side& side : outputs)
      if (side.moved < side.words) return false;
    return true;
  }

  [[noreturn]] void finish(const char* status, uint64_t cycles, const char* place) {
    model->final();
    for (Side& side : inputs) side.cycles.close();
    for (Side& side : outputs) side.out.close(), side.cycles.close();
    std::printf("\n@end %s %llu %s", status, static_cast<unsigned long long>(cycles), place);
    for (const auto* sides : {&inputs, &outputs})
      for (const Side& side : *sides)
        std::printf(" %llu %d %d", static_cast<unsigned long long>(side.moved), *side.port.valid, *side.port.ready);
    std::printf("\n");
    std::fflush(stdout);
    std::_Exit(0);  // freeing a large model takes seconds
  }

  [[noreturn]] void run() {
    hold_reset();
    uint64_t idle = 0, done_at = 0;
    for (uint64_t now = 0;; ++now) {
      idle = cycle(now) ? 0 : idle + 1;
      if (context.gotFinish()) finish("finish", now, "-");
      for (const Side& side : outputs)
        if (side.moved > side.words) finish("extra", now, side.port.name);
      if (!done_at && complete()) done_at = now + 1;
      if (done_at) {
        if (now >= done_at + drain) finish("done", done_at, "-");
      } else if (idle > max_idle) {
        finish("deadlock", now + 1 - idle, "-");
      }
      if ((now & 0x3ffff) == 0x3ffff) report(now + 1);
    }
  }

  void report(uint64_t now) {
    uint64_t words = 0;
    for (const auto* sides : {&inputs, &outputs})
      for (const Side& side : *sides) words += side.moved;
    std::printf("\n@progress %llu %llu\n", static_cast<unsigned long long>(now), static_cast<unsigned long long>(words));
    std::fflush(stdout);
  }
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 3;
  Run(argv[1]).run();
}
