// Work on molecules shared out among threads.
#pragma once
#include <atomic>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace {

// Memory of threads, made when there are so many for the first time.
template <class Space> class Spaces {
    std::vector<std::unique_ptr<Space>> spaces_;

  public:
    Space* of(size_t thread) {
        while (spaces_.size() <= thread) spaces_.push_back(std::make_unique<Space>());
        return spaces_[thread].get();
    }
    size_t bytes() const {
        size_t sum = 0;
        for (const auto& space : spaces_) sum += space->bytes();
        return sum;
    }

    // Molecule after molecule, each in the memory of the thread that has taken it: what a thread
    // writes stays in its caches, and no sum depends on how many threads there are.
    template <class Work> void each(size_t count, int threads, Work work) {
        const size_t workers = std::min<size_t>(std::max(threads, 1), count);
        std::atomic<size_t> next{0};
        std::exception_ptr failed;
        std::mutex failing;
        auto run = [&](Space* space) {
            try {
                for (size_t n; (n = next++) < count;) work(n, *space);
            } catch (...) {
                const std::lock_guard<std::mutex> lock(failing);
                failed = std::current_exception();
            }
        };
        std::vector<Space*> mine;
        for (size_t t = 0; t < workers; ++t) mine.push_back(of(t));
        std::vector<std::thread> others;
        others.reserve(workers);
        try {
            for (size_t t = 1; t < workers; ++t) others.emplace_back(run, mine[t]);
        } catch (const std::exception&) {
            // No more threads, or no memory for one: those that there are do all the work.
        }
        if (workers) run(mine[0]);
        for (std::thread& other : others) other.join();
        if (failed) std::rethrow_exception(failed);
    }
};

}  // namespace
