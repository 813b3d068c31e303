// Aligned arrays that grow and are never copied.
#pragma once
#include <cstddef>
#include <cstring>
#include <new>
#include <utility>

namespace {

constexpr std::align_val_t ALIGNMENT{64};

// Numbers on a cache line's boundary, zero when they are made; contents are lost when it grows.
template <class T> class Array {
    T* data_ = nullptr;
    size_t size_ = 0;

  public:
    Array() = default;
    explicit Array(size_t count) { need(count); }
    Array(Array&& other) noexcept : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
    Array& operator=(Array&& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        return *this;
    }
    Array(const Array&) = delete;
    Array& operator=(const Array&) = delete;
    ~Array() { release(); }

    T* need(size_t count) {
        if (count > size_ || !data_) {  // never null, also for none
            release();
            const size_t bytes = (count + count / 8) * sizeof(T) + 64;
            data_ = static_cast<T*>(::operator new(bytes, ALIGNMENT));
            size_ = count + count / 8;
            std::memset(data_, 0, bytes);
        }
        return data_;
    }
    T* data() { return data_; }
    const T* data() const { return data_; }
    size_t bytes() const { return size_ * sizeof(T); }

  private:
    void release() {
        if (data_) ::operator delete(data_, ALIGNMENT);
        data_ = nullptr;
        size_ = 0;
    }
};

}  // namespace
