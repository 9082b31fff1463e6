/** The trace backend: computes nothing and writes down what was asked. Tests of the model look at its
 *  records, and the bench reads off how many bytes of weights and operations a step costs. */
import { OP_NAMES, type OpKernels } from "../../ffi/ops.gen.ts"
import type { ByteSource } from "../gguf/types.ts"
import { type Backend, packedIndexBytes, packedKvBytes } from "./backend.ts"
import { type DeviceBuffer, rowBytes, type Tensor } from "./tensor.ts"

export type OpName = keyof OpKernels

/** One call of an op. */
export interface TraceRecord {
  readonly op: OpName
  /** The numbers of the call in the order of ffi/types.h; operands are left out. */
  readonly sizes: readonly number[]
  /** Bytes of weights that the call reads at most: an expert counts once, however many rows chose it. */
  readonly weightBytes: number
  /** Additions and multiplications of matmul, experts and attend; 0 for all other ops. For attend
   *  an upper bound: a full window, and every row that topK or the page table allows. */
  readonly flops: number
}

export interface TraceBackend extends Backend {
  readonly name: "trace"
  readonly records: TraceRecord[]
  /** Drops all records; buffers stay. */
  reset(): void
}

type Estimate = Pick<TraceRecord, "weightBytes" | "flops">

/** What an op costs, from the arguments of its kernel; ops that are missing read no weights. */
const ESTIMATES: { [op in OpName]?: (...args: Parameters<OpKernels<Tensor>[op]>) => Estimate } = {
  embed: (_out, table, _rows, nRows, _hc, dim) => ({
    weightBytes: nRows * rowBytes(table.type, dim),
    flops: 0,
  }),
  rmsNorm: (_out, _x, w) => ({ weightBytes: w?.bytes ?? 0, flops: 0 }),
  matmul: (_out, _x, w, nRows, nGroups, nIn, nOut) => ({
    weightBytes: w.bytes,
    flops: 2 * nRows * nGroups * nIn * nOut,
  }),
  expertsGateUp: (_out, _x, gate, up, _sel, _weights, nRows, k, nExperts, dim, ff) => ({
    weightBytes: ((gate.bytes + up.bytes) / nExperts) * Math.min(nRows * k, nExperts),
    flops: 4 * nRows * k * dim * ff,
  }),
  expertsDown: (_out, _h, down, _sel, nRows, k, nExperts, dim, ff) => ({
    weightBytes: (down.bytes / nExperts) * Math.min(nRows * k, nExperts),
    flops: 2 * nRows * k * dim * ff,
  }),
  attend: (...args) => ({ weightBytes: 0, flops: attendFlops(args) }),
}

function attendFlops(args: Parameters<OpKernels<Tensor>["attend"]>): number {
  const [, , , , , , sel, , , nRows, nHeads, dim, , , window, , ratio, topK, , , tableLen] = args
  const stored = ratio === 0 ? 0 : (tableLen * 128) / ratio
  const keys = window + (sel ? Math.min(topK, stored) : stored)
  return 4 * nRows * nHeads * dim * keys
}

/** Fake addresses begin here and are far apart: two buffers never overlap. */
const FIRST_ADDRESS = 2 ** 32
const ALIGNMENT = 4096

/** Opens the trace backend. Its memory reads as zeros and forgets what is written to it. */
export function openTrace(): TraceBackend {
  const records: TraceRecord[] = []
  let next = FIRST_ADDRESS
  const place = (bytes: number): DeviceBuffer => {
    const address = next
    next += Math.ceil((bytes + 1) / ALIGNMENT) * ALIGNMENT
    return { address, bytes }
  }
  return {
    name: "trace",
    description: "trace, computes nothing",
    kernels: recordingKernels(records),
    records,
    reset() {
      records.length = 0
    },
    alloc: place,
    free() {},
    map: (source: ByteSource) => ({
      ...place(source.size),
      bytesAt: (offset, length) => source.bytes(offset, length),
    }),
    kvRowBytes: packedKvBytes,
    indexRowBytes: packedIndexBytes,
    read: (_buffer, _offset, into) => void into.fill(0),
    write() {},
    close() {},
  }
}

/** One function per op that adds its record. */
function recordingKernels(records: TraceRecord[]): OpKernels<Tensor> {
  const kernels = OP_NAMES.map((op) => {
    const estimate = ESTIMATES[op] as ((...args: unknown[]) => Estimate) | undefined
    const record = (...args: unknown[]) => {
      const sizes = args.filter((a) => typeof a === "number")
      records.push({ op, sizes, ...(estimate?.(...args) ?? { weightBytes: 0, flops: 0 }) })
    }
    return [op, record]
  })
  return Object.fromEntries(kernels) as OpKernels<Tensor>
}
