// The operations of the reference engine that are many small ones in candle, each as one kernel. 32-bit floats; maps are
// [C, n, H, W] without gaps. Spikes, and averages of up to 256 of them whose number is a power of two, are bfloat16 (the upper half of a float, as whole
// numbers of 16 bits): there they are exact. Compiled when the program runs (NVRTC), without contraction to fused multiply-adds: what no sum
// goes through has the bits of the portable operations, and sums are taken in an order that depends on the shapes alone.

typedef unsigned int uint;
typedef unsigned short half_bits;

// From launch.rs: SUMMING, threads of a block that sums; OUTPUTS, output channels of a block of `few_channels`; STRETCH, values of a row that a block normalises.

// `apart`: how far the time steps of a tensor lie apart, in values; 0 where one stands for all.

// 1 as bfloat16.
#define ONE 0x3f80

// A cell over time: what its potential leaves for the next time step.
struct Cell {
    float threshold, decay, rest;

    // The membrane potential at a time step, and whether it fires there.
    __device__ float charge(float in, bool first, half_bits* spike) {
        float u = first ? in : rest + in;
        float silent = threshold - u > 0.0f ? 1.0f : 0.0f;
        *spike = silent > 0.0f ? 0 : ONE;
        rest = u * silent * decay;
        return u;
    }
};

// The upper half of a float, rounded to the nearest: bfloat16.
__device__ half_bits to_half(float x) {
    uint bits = __float_as_uint(x);
    if (x != x) return 0x7fc0;
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

__device__ float to_float(half_bits x) { return __uint_as_float((uint)x << 16); }

// Membrane potentials and spikes.
extern "C" __global__ void lif_forward(const float* current, uint apart, float* potential, half_bits* spikes, uint cells,
                                       uint steps, float threshold, float decay) {
    uint i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= cells) return;
    Cell cell = {threshold, decay, 0.0f};
    for (uint t = 0; t < steps; ++t) {
        size_t place = (size_t)t * cells + i;
        potential[place] = cell.charge(current[(size_t)t * apart + i], t == 0, &spikes[place]);
    }
}

// A rule, as `Rule` of neuron.rs has it.
struct Rule {
    float threshold, decay, alpha, half_width;
    bool adjusts_space, adjusts_time, through_reset;

    // dL/dI at a time step, from the gradient of its spike and from dL/dI of the next step, if there is one.
    __device__ float current(float u, float of_next_layer, float later, bool last) const {
        float silent = threshold - u > 0.0f ? 1.0f : 0.0f;
        float s = 1.0f - silent;
        float slope = adjusts_space ? s / (u * s + silent) : (half_width - fabsf(u - threshold) > 0.0f ? 1.0f : 0.0f);
        float of_spike = slope * of_next_layer;
        if (last) return of_spike;
        float leak = silent;
        if (through_reset) leak -= u * slope;
        if (adjusts_time) leak += slope * alpha;
        return of_spike + leak * later * decay;
    }
};

// dL/dI.
extern "C" __global__ void lif_backward(const float* potential, const float* grads, uint grads_apart, float* currents, uint cells,
                                        uint steps, float threshold, float decay, float alpha, float half_width,
                                        uint adjusts_space, uint adjusts_time, uint through_reset) {
    uint i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= cells) return;
    Rule rule = {threshold, decay, alpha, half_width, adjusts_space != 0, adjusts_time != 0, through_reset != 0};
    float d = 0.0f;
    for (uint t = steps; t-- > 0;) {
        size_t place = (size_t)t * cells + i;
        d = rule.current(potential[place], grads[(size_t)t * grads_apart + i], d, t + 1 == steps);
        currents[place] = d;
    }
}

// Normalisation with the batch's statistics, rectifier and cells; keeps the normalised values and the inverse deviations. One thread a cell.
extern "C" __global__ void norm_cells(const float* x, uint apart, const float* mean, const float* biased, const float* weight,
                                      const float* bias, float* normalised, float* inverse_deviation, float* potential,
                                      half_bits* spikes, uint cells, uint row, uint steps, float epsilon, float threshold,
                                      float decay) {
    uint i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= cells) return;
    uint c = i / row, channels = cells / row;
    float scale = weight[c], shift = bias[c], in = 0.0f;
    Cell cell = {threshold, decay, 0.0f};
    for (uint t = 0; t < steps; ++t) {
        size_t place = (size_t)t * cells + i;
        if (t == 0 || apart != 0) {
            uint of = t * channels + c;
            float inverse = 1.0f / sqrtf(biased[of] + epsilon);
            float hat = (x[place] - mean[of]) * inverse;
            normalised[place] = hat;
            if (i % row == 0) inverse_deviation[of] = inverse;
            in = fmaxf(hat * scale + shift, 0.0f);
        }
        potential[place] = cell.charge(in, t == 0, &spikes[place]);
    }
}

// The same with running statistics; keeps nothing.
extern "C" __global__ void running_cells(const float* x, uint apart, const float* mean, const float* var, const float* weight,
                                         const float* bias, half_bits* spikes, uint cells, uint row, uint steps, float epsilon,
                                         float threshold, float decay) {
    uint i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= cells) return;
    uint c = i / row;
    float middle = mean[c], scale = weight[c] * (1.0f / sqrtf(var[c] + epsilon)), shift = bias[c];
    Cell cell = {threshold, decay, 0.0f};
    for (uint t = 0; t < steps; ++t) {
        float in = fmaxf((x[(size_t)t * apart + i] - middle) * scale + shift, 0.0f);
        cell.charge(in, t == 0, &spikes[(size_t)t * cells + i]);
    }
}

// Back through cells and rectifier: gradients of what the normalisation gives, summed over time where that is the same at each step.
extern "C" __global__ void norm_cells_backward(const float* potential, const float* grads, uint grads_apart,
                                               const float* normalised, uint apart, const float* weight, const float* bias,
                                               float* out, uint cells, uint row, uint steps, float threshold, float decay,
                                               float alpha, float half_width, uint adjusts_space, uint adjusts_time,
                                               uint through_reset) {
    uint i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= cells) return;
    Rule rule = {threshold, decay, alpha, half_width, adjusts_space != 0, adjusts_time != 0, through_reset != 0};
    uint c = i / row;
    float scale = weight[c], shift = bias[c], d = 0.0f, sum = 0.0f;
    for (uint t = steps; t-- > 0;) {
        size_t place = (size_t)t * cells + i;
        d = rule.current(potential[place], grads[(size_t)t * grads_apart + i], d, t + 1 == steps);
        float through = normalised[(size_t)t * apart + i] * scale + shift > 0.0f ? d : 0.0f;
        if (apart != 0) {
            out[place] = through;
        } else {
            sum += through;
        }
    }
    if (apart == 0) out[i] = sum;
}

// The gradient where a rectifier let its input through.
extern "C" __global__ void relu_backward(const float* grad, const float* out, float* next, uint values) {
    uint i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < values) next[i] = out[i] > 0.0f ? grad[i] : 0.0f;
}

// [T, 9C, n*H*W]: the zero-padded maps seen from each of the nine places of a 3x3 kernel, `step` values a time step. One thread a value of a map.
template <typename Value>
__device__ void all_columns(const Value* x, Value* out, uint values, uint step, uint rows, uint width) {
    uint i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= values) return;
    uint column = i % width;
    uint row = i / width % rows;
    size_t first = (size_t)(i / step) * 8 * step + i;
    for (int dy = -1; dy <= 1; ++dy) {
        for (int dx = -1; dx <= 1; ++dx) {
            bool inside = row + dy < rows && column + dx < width; // -1 wraps round to a large number
            int away = dy * (int)width + dx;
            size_t place = (size_t)((dy + 1) * 3 + dx + 1) * step;
            out[first + place] = inside ? x[(long long)i + away] : Value(0);
        }
    }
}

extern "C" __global__ void columns(const float* x, float* out, uint values, uint step, uint rows, uint width) {
    all_columns(x, out, values, step, rows, width);
}

extern "C" __global__ void spike_columns(const half_bits* x, half_bits* out, uint values, uint step, uint rows,
                                         uint width) {
    all_columns(x, out, values, step, rows, width);
}

// Three bfloat16 whose sum is the float, to the last of its 24 bits: of each time step first all low parts, then the middle ones, then the high.
extern "C" __global__ void split(const float* x, half_bits* out, uint values, uint step) {
    uint i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= values) return;
    size_t place = (size_t)(i / step) * 2 * step + i;
    float rest = x[i];
    half_bits high = to_half(rest);
    rest -= to_float(high);
    half_bits middle = to_half(rest);
    out[place] = to_half(rest - to_float(middle));
    out[place + step] = middle;
    out[place + 2 * (size_t)step] = high;
}

// [T, rows, row]: the sum of so many parts, in their order, and of each row's own number in `add`, if it is not null. The other arguments say how far
// parts, rows and time steps lie from each other.
extern "C" __global__ void sum_parts(const float* x, const float* add, float* out, uint values, uint row, uint rows, uint parts,
                                     uint of_part, uint of_row, uint of_step) {
    uint i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= values) return;
    uint r = i / row % rows;
    size_t place = (size_t)(i / row / rows) * of_step + (size_t)r * of_row + i % row;
    float sum = x[place];
    for (uint part = 1; part < parts; ++part) sum += x[place + (size_t)part * of_part];
    out[i] = add == 0 ? sum : sum + add[r];
}

// Where a window begins, of those that maps of this size hold whole.
__device__ size_t corner_of(uint window, uint height, uint width, uint size) {
    uint rows = height / size, columns = width / size;
    uint column = window % columns, row = window / columns % rows, plane = window / columns / rows;
    return ((size_t)plane * height + row * size) * width + column * size;
}

// The maximum of each window; rows and columns that fill no window are left out. Spikes and their averages are not negative, so
// that their bits are in the order of their values. One thread a window.
extern "C" __global__ void spike_max_pool(const half_bits* x, half_bits* out, uint windows, uint height, uint width, uint size) {
    uint i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= windows) return;
    const half_bits* corner = x + corner_of(i, height, width, size);
    half_bits most = 0;
    for (uint y = 0; y < size; ++y) {
        for (uint k = 0; k < size; ++k) most = max(most, corner[y * width + k]);
    }
    out[i] = most;
}

// The mean of each window of spikes, as bfloat16. One thread a window.
extern "C" __global__ void spike_average_pool(const half_bits* x, half_bits* out, uint windows, uint height, uint width,
                                              uint size) {
    uint i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= windows) return;
    const half_bits* corner = x + corner_of(i, height, width, size);
    float sum = 0.0f;
    for (uint y = 0; y < size; ++y) {
        for (uint k = 0; k < size; ++k) sum += to_float(corner[y * width + k]);
    }
    out[i] = to_half(sum / (size * size));
}

// Each window's gradient to its first maximum in row-major order; 0 to all else, and where no window reaches. One thread a window, those
// counted in that the map's edge cuts.
template <typename Value>
__device__ void to_first_maximum(const float* grad, const Value* x, float* out, uint windows, uint height, uint width,
                                 uint size) {
    uint i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= windows) return;
    uint all_columns = (width + size - 1) / size, all_rows = (height + size - 1) / size;
    uint column = i % all_columns, row = i / all_columns % all_rows, plane = i / all_columns / all_rows;
    size_t corner = ((size_t)plane * height + row * size) * width + column * size;
    bool whole = (row + 1) * size <= height && (column + 1) * size <= width;
    float share = whole ? grad[((size_t)plane * (height / size) + row) * (width / size) + column] : 0.0f;
    uint best = 0;
    if (whole) {
        Value most = x[corner];
        for (uint k = 1; k < size * size; ++k) {
            Value value = x[corner + k / size * width + k % size];
            if (value > most) {
                most = value;
                best = k;
            }
        }
    }
    for (uint y = 0; y < size && row * size + y < height; ++y) {
        for (uint k = 0; k < size && column * size + k < width; ++k) {
            out[corner + y * width + k] = y * size + k == best ? share : 0.0f;
        }
    }
}

extern "C" __global__ void max_pool_backward(const float* grad, const float* x, float* out, uint windows, uint height,
                                             uint width, uint size) {
    to_first_maximum(grad, x, out, windows, height, width, size);
}

extern "C" __global__ void spike_max_pool_backward(const float* grad, const half_bits* x, float* out, uint windows, uint height,
                                                   uint width, uint size) {
    to_first_maximum(grad, x, out, windows, height, width, size);
}

// Each window's gradient in equal shares; 0 where no window reaches. One thread a value of the map.
extern "C" __global__ void average_pool_backward(const float* grad, float* out, uint values, uint height, uint width, uint size,
                                                 float share) {
    uint i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= values) return;
    uint rows = height / size, columns = width / size;
    uint column = i % width / size, row = i / width % height / size, plane = i / width / height;
    bool inside = row < rows && column < columns;
    out[i] = inside ? grad[((size_t)plane * rows + row) * columns + column] * share : 0.0f;
}

// The sum over the block's threads, for all of them.
__device__ float sum_of_block(float value) {
    __shared__ float sums[32];
    for (uint half = 16; half > 0; half /= 2) value += __shfl_down_sync(~0u, value, half);
    if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = value;
    __syncthreads();
    float total = sums[0];
    for (uint warp = 1; warp < SUMMING / 32; ++warp) total += sums[warp];
    __syncthreads();
    return total;
}

// How many spikes each block met.
extern "C" __global__ void count_spikes(const half_bits* x, float* counts, uint values) {
    float count = 0.0f;
    size_t blocks = gridDim.x;
    for (size_t i = blockIdx.x * SUMMING + threadIdx.x; i < values; i += blocks * SUMMING) count += x[i] != 0 ? 1.0f : 0.0f;
    count = sum_of_block(count);
    if (threadIdx.x == 0) counts[blockIdx.x] = count;
}

// The gradient of a kernel matrix, [O, 9C], from maps of few channels: the sums over one time step's pixels in `parts` parts, each for OUTPUTS output
// channels a block. Too few numbers come out of a product for all of the GPU to share.
extern "C" __global__ void __launch_bounds__(SUMMING) few_channels(const float* x, const float* grads, float* out, uint channels, uint outputs, uint pixels,
                                        uint height, uint width, uint part) {
    uint first = blockIdx.x * OUTPUTS, t = blockIdx.z, parts = gridDim.y;
    uint start = blockIdx.y * part, end = min(pixels, start + part);
    const float* grad = grads + (size_t)t * outputs * pixels;
    for (uint c = 0; c < channels; ++c) {
        const float* map = x + ((size_t)t * channels + c) * pixels;
        float sums[OUTPUTS][9] = {};
        for (uint i = start + threadIdx.x; i < end; i += SUMMING) {
            uint column = i % width, row = i / width % height;
            float seen[9];
#pragma unroll
            for (int place = 0; place < 9; ++place) {
                int dy = place / 3 - 1, dx = place % 3 - 1;
                bool inside = row + dy < height && column + dx < width;
                seen[place] = inside ? map[(long long)i + dy * (int)width + dx] : 0.0f;
            }
#pragma unroll
            for (uint o = 0; o < OUTPUTS; ++o) {
                float g = first + o < outputs ? grad[(size_t)(first + o) * pixels + i] : 0.0f;
#pragma unroll
                for (int place = 0; place < 9; ++place) sums[o][place] = fmaf(g, seen[place], sums[o][place]);
            }
        }
#pragma unroll
        for (uint o = 0; o < OUTPUTS; ++o) {
#pragma unroll
            for (int place = 0; place < 9; ++place) {
                float sum = sum_of_block(sums[o][place]);
                size_t here = ((size_t)(t * parts + blockIdx.y) * outputs + first + o) * 9 * channels;
                if (threadIdx.x == 0 && first + o < outputs) out[here + place * channels + c] = sum;
            }
        }
    }
}

// Mean and variances of each channel at each time step, over `row` values. One block a channel and time step. The mean is taken from the
// first value on: where all are the same, it is that value to the bit.
extern "C" __global__ void norm_statistics(const float* x, float* mean, float* biased, float* unbiased, uint row, float over_biased,
                                           float over_unbiased) {
    uint c = blockIdx.x, t = blockIdx.y, place = t * gridDim.x + c;
    const float* values = x + (size_t)place * row;
    float first = values[0], sum = 0.0f;
    for (uint i = threadIdx.x; i < row; i += SUMMING) sum += values[i] - first;
    float middle = first + sum_of_block(sum) / row;
    float squares = 0.0f;
    for (uint i = threadIdx.x; i < row; i += SUMMING) {
        float distance = values[i] - middle;
        squares += distance * distance;
    }
    squares = sum_of_block(squares);
    if (threadIdx.x == 0) {
        mean[place] = middle;
        biased[place] = squares * over_biased;
        unbiased[place] = squares * over_unbiased;
    }
}

// The running average after one more batch a time step.
extern "C" __global__ void running_update(const float* batch, uint apart, const float* running, float* out, uint channels,
                                          uint steps, float keep, float take) {
    uint c = blockIdx.x * blockDim.x + threadIdx.x;
    if (c >= channels) return;
    float average = running[c];
    for (uint t = 0; t < steps; ++t) average = average * keep + batch[t * apart + c] * take;
    out[c] = average;
}

// Normalises with the batch's statistics; keeps the normalised values and the inverse deviations. Blocks by stretch of a row, channel
// and time step.
extern "C" __global__ void norm_forward(const float* x, const float* mean, const float* biased, const float* weight,
                                        const float* bias, float* out, float* normalised, float* inverse_deviation, uint row,
                                        float epsilon) {
    uint c = blockIdx.y, of = blockIdx.z * gridDim.y + c;
    float middle = mean[of], scale = weight[c], shift = bias[c];
    float inverse = 1.0f / sqrtf(biased[of] + epsilon);
    size_t here = (size_t)of * row;
    uint end = min(row, (blockIdx.x + 1) * STRETCH);
    for (uint i = blockIdx.x * STRETCH + threadIdx.x; i < end; i += blockDim.x) {
        float hat = (x[here + i] - middle) * inverse;
        out[here + i] = hat * scale + shift;
        normalised[here + i] = hat;
    }
    if (blockIdx.x == 0 && threadIdx.x == 0) inverse_deviation[of] = inverse;
}

// Normalises with running statistics. Blocks as above.
extern "C" __global__ void norm_running(const float* x, const float* mean, const float* var, const float* weight, const float* bias,
                                        float* out, uint row, float epsilon) {
    uint c = blockIdx.y;
    float middle = mean[c], shift = bias[c], scale = weight[c] * (1.0f / sqrtf(var[c] + epsilon));
    size_t here = ((size_t)blockIdx.z * gridDim.y + c) * row;
    uint end = min(row, (blockIdx.x + 1) * STRETCH);
    for (uint i = blockIdx.x * STRETCH + threadIdx.x; i < end; i += blockDim.x) {
        out[here + i] = (x[here + i] - middle) * scale + shift;
    }
}

// Sums of rows. One block a row and time step.
extern "C" __global__ void row_sums(const float* x, float* total, uint row) {
    const float* values = x + ((size_t)blockIdx.y * gridDim.x + blockIdx.x) * row;
    float sum = 0.0f;
    for (uint i = threadIdx.x; i < row; i += SUMMING) sum += values[i];
    sum = sum_of_block(sum);
    if (threadIdx.x == 0) total[blockIdx.y * gridDim.x + blockIdx.x] = sum;
}

// Sums of the gradients, and of the gradients times the normalised values. One block a channel and time step.
extern "C" __global__ void norm_backward_sums(const float* grads, const float* normalised, uint apart, float* total,
                                              float* total_hat, uint row) {
    uint c = blockIdx.x, t = blockIdx.y, place = t * gridDim.x + c;
    const float* grad = grads + (size_t)place * row;
    const float* hat = normalised + (size_t)t * apart + (size_t)c * row;
    float sum = 0.0f, products = 0.0f;
    for (uint i = threadIdx.x; i < row; i += SUMMING) {
        sum += grad[i];
        products += grad[i] * hat[i];
    }
    sum = sum_of_block(sum);
    products = sum_of_block(products);
    if (threadIdx.x == 0) {
        total[place] = sum;
        total_hat[place] = products;
    }
}

// dx = scale * (g - sum(g) / n - hat * sum(g * hat) / n), written as in norm.rs. Blocks as for norm_forward.
extern "C" __global__ void norm_backward(const float* grads, const float* normalised, uint apart, const float* inverse_deviation,
                                         uint channels_apart, const float* total, const float* total_hat, const float* weight,
                                         float* out, uint row, float minus_share) {
    uint c = blockIdx.y, t = blockIdx.z, of = t * gridDim.y + c;
    float scale = weight[c] * inverse_deviation[t * channels_apart + c];
    float share = scale * minus_share;
    float slope = share * total_hat[of], shift = share * total[of];
    size_t here = (size_t)of * row;
    const float* grad = grads + here;
    const float* hat = normalised + (size_t)t * apart + (size_t)c * row;
    uint end = min(row, (blockIdx.x + 1) * STRETCH);
    for (uint i = blockIdx.x * STRETCH + threadIdx.x; i < end; i += blockDim.x) {
        float of_hat = hat[i] * slope + shift;
        out[here + i] = grad[i] * scale + of_hat;
    }
}

// One step of AdamW, term for term as optimizer.rs has it; `first` and `second` are null before a parameter's first step.
extern "C" __global__ void adamw(const float* parameter, const float* gradient, const float* first, const float* second,
                                 float* next_parameter, float* next_first, float* next_second, uint values, float beta1,
                                 float rest1, float beta2, float rest2, float over_root, float epsilon, float kept,
                                 float rate) {
    uint i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= values) return;
    float g = gradient[i];
    float m = g * rest1, v = g * g * rest2;
    if (first != 0) {
        m = first[i] * beta1 + m;
        v = second[i] * beta2 + v;
    }
    float denominator = sqrtf(v) * over_root + epsilon;
    next_parameter[i] = parameter[i] * kept - m / denominator * rate;
    next_first[i] = m;
    next_second[i] = v;
}
