/// \file
/// The jobs that wait for one processor: submitted by any thread, taken by one at a time.
///
/// Submitters push on a stack, the inbox; the processor's thread takes all of it at once and sorts
/// each job into its submission queue. So those queues belong to that thread alone, a submitter
/// writes one word, and a job crosses to another core with two cache lines: the inbox and itself.
///
///   Push ──▶ inbox: c ▸ b ▸ a ──take all──▶ queues: A [a c]  B [b] ──in turn──▶ a, b, c
#ifndef BYOC_RUNTIME_JOB_QUEUE_H_
#define BYOC_RUNTIME_JOB_QUEUE_H_

#include <atomic>
#include <cstdint>

#include "core/event.h"
#include "core/job.h"

namespace byoc {

/// Jobs of many sessions, handed out to one thread at a time, the consumer; the sessions' queues
/// take turns.
class JobQueue {
 public:
  JobQueue() = default;
  JobQueue(const JobQueue&) = delete;
  JobQueue& operator=(const JobQueue&) = delete;

  /// Appends a job and wakes the consumer when it sleeps. Any thread.
  ///
  /// \param job not owned; must live until it has run.
  /// \param queue the session's queue; null: the common one.
  void Push(Job* job, SubmissionQueue* queue) {
    job->queue_ = queue;
    job->next_ = inbox_.load(std::memory_order_relaxed);
    while (!inbox_.compare_exchange_weak(job->next_, job, std::memory_order_seq_cst,
                                         std::memory_order_relaxed)) {
    }
    if (asleep_.load(std::memory_order_seq_cst)) {
      pushes_.fetch_add(1, std::memory_order_release);
      FutexWake(&pushes_);
    }
  }

  /// Returns the next job, or null. Consumer only.
  Job* Pop() {
    if (inbox_.load(std::memory_order_acquire) != nullptr) Sort();
    SubmissionQueue* queue = first_.load(std::memory_order_relaxed);
    if (queue == nullptr) return nullptr;
    first_.store(queue->next_, std::memory_order_relaxed);
    if (queue->next_ == nullptr) last_ = nullptr;
    Job* job = queue->head_;
    queue->head_ = job->next_;
    if (queue->head_ != nullptr) {
      Append(queue);  // its next turn comes after everyone else's
    } else {
      queue->tail_ = nullptr;
    }
    return job;
  }

  /// Returns the next job; spins for some microseconds, then sleeps, until there is one. Consumer
  /// only.
  Job* PopOrSleep() {
    // Longer than a caller waits: the next call of a loop usually comes within this time.
    for (int i = 4 * SpinRounds(); i > 0; --i) {
      if (Job* job = Pop()) return job;
      CpuRelax();
    }
    for (;;) {
      // Push appends, then looks at `asleep_`; here it is the other way round: one of the two sees
      // the other.
      const uint32_t seen = pushes_.load(std::memory_order_acquire);
      asleep_.store(true, std::memory_order_seq_cst);
      Job* job = nullptr;
      if (inbox_.load(std::memory_order_seq_cst) != nullptr || HasSorted()) job = Pop();
      if (job == nullptr) FutexWait(&pushes_, seen);
      asleep_.store(false, std::memory_order_relaxed);
      if (job != nullptr || (job = Pop()) != nullptr) return job;
    }
  }

  /// Whether a job waits. Any thread; may be out of date.
  bool HasWork() const { return HasNews() || HasSorted(); }

  /// Whether a job was pushed that the consumer has not looked at. Any thread; may be out of date.
  bool HasNews() const { return inbox_.load(std::memory_order_relaxed) != nullptr; }

  /// Whether the consumer sleeps in `PopOrSleep`. Any thread; may be out of date.
  bool IsAsleep() const { return asleep_.load(std::memory_order_relaxed); }

 private:
  /// Moves the inbox into the queues, oldest first.
  void Sort() {
    Job* oldest = nullptr;
    for (Job* job = inbox_.exchange(nullptr, std::memory_order_acquire); job != nullptr;) {
      Job* older = job->next_;
      job->next_ = oldest;
      oldest = job;
      job = older;
    }
    while (oldest != nullptr) {
      Job* job = oldest;
      oldest = job->next_;
      job->next_ = nullptr;
      SubmissionQueue* queue = job->queue_ != nullptr ? job->queue_ : &common_;
      if (queue->owner_ != this) {  // new, or what it holds belongs to the parent process
        queue->head_ = queue->tail_ = nullptr;
        queue->owner_ = this;
      }
      if (queue->head_ == nullptr) {
        queue->head_ = job;
        Append(queue);
      } else {
        queue->tail_->next_ = job;
      }
      queue->tail_ = job;
    }
  }

  void Append(SubmissionQueue* queue) {
    queue->next_ = nullptr;
    if (last_ != nullptr) {
      last_->next_ = queue;
    } else {
      first_.store(queue, std::memory_order_relaxed);
    }
    last_ = queue;
  }

  bool HasSorted() const { return first_.load(std::memory_order_relaxed) != nullptr; }

  // A line for each side, so that the consumer's own fields do not travel with those that
  // submitters read.
  alignas(64) std::atomic<Job*> inbox_{nullptr};
  alignas(64) std::atomic<bool> asleep_{false};
  std::atomic<uint32_t> pushes_{0};  // the futex the consumer sleeps on
  alignas(64) SubmissionQueue common_;
  // Queues that have jobs, in the order of their turns.
  std::atomic<SubmissionQueue*> first_{nullptr};
  SubmissionQueue* last_ = nullptr;
};

}  // namespace byoc

#endif  // BYOC_RUNTIME_JOB_QUEUE_H_
