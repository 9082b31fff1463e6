import { GgufError, ShapeError } from "../errors.ts"
import type { Metadata } from "./metadata.ts"

/** Names of the GGUF value types in order of their ids, 0 to 12. */
export const VALUE_TYPES = [
  "u8",
  "i8",
  "u16",
  "i16",
  "u32",
  "i32",
  "f32",
  "bool",
  "str",
  "arr",
  "u64",
  "i64",
  "f64",
] as const
export type ValueType = (typeof VALUE_TYPES)[number]
export type ScalarType = Exclude<ValueType, "arr">

/** Bytes of one value of fixed size; a string has its length before it, an array its header. */
export const VALUE_BYTES: Record<Exclude<ScalarType, "str">, number> = {
  u8: 1,
  i8: 1,
  u16: 2,
  i16: 2,
  u32: 4,
  i32: 4,
  f32: 4,
  bool: 1,
  u64: 8,
  i64: 8,
  f64: 8,
}

export type ScalarValue = number | bigint | boolean | string

/** One metadata value with its place in the file. A u64 or i64 beyond 2^53 is a bigint. */
export type GgufValue =
  | { type: "bool"; value: boolean; offset: number }
  | { type: "str"; value: string; offset: number }
  | { type: "u64" | "i64"; value: number | bigint; offset: number }
  | {
      type: Exclude<ScalarType, "bool" | "str" | "u64" | "i64">
      value: number
      offset: number
    }
  | GgufArray

/** An array that stays in the file until someone asks: the real vocabulary has 257,021 strings. */
export interface GgufArray {
  readonly type: "arr"
  readonly elem: ScalarType
  readonly count: number
  /** Byte offset of the first element, and how many bytes all elements take. */
  readonly offset: number
  readonly bytes: number
  /** Decodes the elements anew on every call. */
  values(): ScalarValue[]
}

/** A block format: `blockElems` weights take `blockBytes` bytes. Spec §2.1, §14. */
export interface GgmlTypeInfo {
  readonly id: number
  readonly name: GgmlType
  readonly blockElems: number
  readonly blockBytes: number
}

export type GgmlType =
  "F32" | "F16" | "Q8_0" | "Q2_K" | "Q4_K" | "IQ2_XXS" | "I32" | "BF16" | "MXFP4"

function info(id: number, name: GgmlType, blockElems: number, blockBytes: number): GgmlTypeInfo {
  return { id, name, blockElems, blockBytes }
}

/** The ggml types that ds4 reads. */
export const GGML_TYPES: Readonly<Record<GgmlType, GgmlTypeInfo>> = {
  F32: info(0, "F32", 1, 4),
  F16: info(1, "F16", 1, 2),
  Q8_0: info(8, "Q8_0", 32, 34),
  Q2_K: info(10, "Q2_K", 256, 84),
  Q4_K: info(12, "Q4_K", 256, 144),
  IQ2_XXS: info(16, "IQ2_XXS", 256, 66),
  I32: info(26, "I32", 1, 4),
  BF16: info(30, "BF16", 1, 2),
  MXFP4: info(39, "MXFP4", 32, 17),
}

const typesById = new Map(Object.values(GGML_TYPES).map((t) => [t.id, t]))

/** The type with this id, or undefined if ds4 does not read it. */
export function ggmlTypeById(id: number): GgmlTypeInfo | undefined {
  return typesById.get(id)
}

/** Bytes of a row of `n` elements. @throws ShapeError unless `n` is a whole number of blocks. */
export function rowBytes(type: GgmlType, n: number): number {
  const { blockElems, blockBytes } = GGML_TYPES[type]
  if (!(n >= 0) || n % blockElems !== 0)
    throw new ShapeError(`A row of ${n} elements cannot be ${type}: blocks hold ${blockElems}`)
  return checkedMul(n / blockElems, blockBytes)
}

/** Bytes of a tensor, `rowBytes(type, dims[0]) · dims[1] · dims[2] · …`; rows are contiguous. */
export function tensorBytes(type: GgmlType, dims: readonly number[]): number {
  let bytes = rowBytes(type, dims[0] ?? 1)
  for (const n of dims.slice(1)) bytes = checkedMul(bytes, n)
  return bytes
}

/** Every sum of sizes and offsets goes through here: beyond 2^53 - 1 a number is not exact. */
export function checkedAdd(a: number, b: number): number {
  const sum = a + b
  if (!Number.isSafeInteger(sum)) throw new GgufError(`The size ${a} + ${b} is beyond 2^53 - 1`)
  return sum
}

/** Every product of sizes and offsets goes through here, for the same reason. */
export function checkedMul(a: number, b: number): number {
  const product = a * b
  if (!Number.isSafeInteger(product)) throw new GgufError(`The size ${a} x ${b} is beyond 2^53 - 1`)
  return product
}

/** The smallest multiple of `alignment` that is not below `offset`; no bitwise operators, which
 *  would cut the offset to 32 bits. */
export function alignUp(offset: number, alignment: number): number {
  const over = offset % alignment
  return over === 0 ? offset : checkedAdd(offset, alignment - over)
}

/** Where a tensor's bytes lie. `dims[0]` is the contiguous dimension (GGUF order). */
export interface TensorInfo {
  readonly name: string
  readonly type: GgmlType
  readonly dims: readonly number[]
  /** Absolute byte offset in the file. */
  readonly offset: number
  readonly bytes: number
}

/** A file's bytes, wherever they are. Views are made on demand and must not be kept: live views
 *  over 80 GB stop the garbage collector (runtime notes, 4.3). */
export interface ByteSource {
  readonly name: string
  readonly size: number
  /** A zero-copy view of at most 4 GiB. */
  bytes(offset: number, length: number): Uint8Array
  /** The native address of a byte, for kernels. */
  address(offset: number): number
  close(): void
}

/** A parsed and validated file. */
export interface GgufFile {
  readonly version: number
  readonly alignment: number
  readonly metadata: Metadata
  readonly tensors: Map<string, TensorInfo>
  /** Byte offset where tensor data begins. */
  readonly dataStart: number
  readonly source: ByteSource
}
