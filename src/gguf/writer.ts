import { closeSync, ftruncateSync, openSync, renameSync, rmSync, writeSync } from "node:fs"
import { GgufError } from "../errors.ts"
import { show } from "./cursor.ts"
import { alignUp, checkedAdd, GGML_TYPES, tensorBytes, VALUE_BYTES, VALUE_TYPES } from "./types.ts"
import type {
  GgmlType,
  GgufValue,
  ScalarType,
  ScalarValue,
  TensorInfo,
  ValueType,
} from "./types.ts"

/** A tensor's bytes: all at once, or in pieces of any size made when they are to be written. A piece
 *  is used before the next is asked for, so one buffer may serve for all. */
export type TensorData = Uint8Array | (() => Iterable<Uint8Array>)

interface Entry {
  name: string
  type: GgmlType
  dims: number[]
  bytes: number
  data: TensorData | undefined
}

/** Writes GGUF version 3: set keys, declare tensors with their data, then `toBytes()` or `toFile()`.
 *  Tensors lie in the order of their declaration. A key "general.alignment" is obeyed. Spec §2.1. */
export class GgufWriter {
  readonly #keys = new Map<string, Uint8Array>()
  readonly #tensors = new Map<string, Entry>()
  #alignment = 32

  /** Sets one key; 64-bit values may be bigints. */
  set(key: string, type: ScalarType, value: ScalarValue): this {
    if (key === "general.alignment") this.#setAlignment(value)
    const out = new ByteBuffer()
    out.u32(VALUE_TYPES.indexOf(type))
    writeScalar(out, key, type, value)
    return this.#addKey(key, out)
  }

  setArray(key: string, elem: ScalarType, values: ArrayLike<ScalarValue>): this {
    const out = new ByteBuffer()
    out.u32(VALUE_TYPES.indexOf("arr" satisfies ValueType))
    out.u32(VALUE_TYPES.indexOf(elem))
    out.u64(values.length)
    for (let i = 0; i < values.length; i++) writeScalar(out, key, elem, values[i] as ScalarValue)
    return this.#addKey(key, out)
  }

  /** Copies keys that were read from another file. */
  copyKeys(keys: Iterable<[string, GgufValue]>): this {
    for (const [key, value] of keys) {
      if (value.type === "arr") this.setArray(key, value.elem, value.values())
      else this.set(key, value.type, value.value)
    }
    return this
  }

  /** Declares a tensor; without `data` it is zeros, which a sparse file does not store. */
  tensor(name: string, type: GgmlType, dims: readonly number[], data?: TensorData): this {
    if (this.#tensors.has(name) || name === "")
      throw new GgufError(`Cannot write tensor ${show(name)}: its name is empty or taken`)
    const bytes = tensorBytes(type, dims)
    if (data instanceof Uint8Array && data.byteLength !== bytes)
      throw wrongLength(name, data.byteLength, bytes)
    this.#tensors.set(name, { name, type, dims: [...dims], bytes, data })
    return this
  }

  /** Where every tensor will lie, as the reader will say. */
  layout(): { header: Uint8Array; tensors: TensorInfo[]; size: number } {
    const directory = new ByteBuffer()
    const places: number[] = []
    let end = 0
    for (const { name, type, dims, bytes } of this.#tensors.values()) {
      const relative = alignUp(end, this.#alignment)
      places.push(relative)
      end = checkedAdd(relative, bytes)
      directory.string(name)
      directory.u32(dims.length)
      for (const n of dims) directory.u64(n)
      directory.u32(GGML_TYPES[type].id)
      directory.u64(relative)
    }
    const header = this.#header(directory)
    const tensors = [...this.#tensors.values()].map(({ name, type, dims, bytes }, i) => {
      const offset = checkedAdd(header.byteLength, places[i] ?? 0)
      return { name, type, dims, offset, bytes }
    })
    return { header, tensors, size: alignUp(checkedAdd(header.byteLength, end), this.#alignment) }
  }

  toBytes(): Uint8Array<ArrayBuffer> {
    const { header, tensors, size } = this.layout()
    const out = new Uint8Array(size)
    out.set(header)
    for (const tensor of tensors) this.#pieces(tensor, (piece, offset) => out.set(piece, offset))
    return out
  }

  /** Writes next to `path` and renames when all is there, so that no half file bears the name.
   *  `sparse` leaves the data of tensors without `data` as a hole (80 GB take no space). */
  toFile(path: string, options: { sparse?: boolean } = {}): void {
    const { header, tensors, size } = this.layout()
    const part = `${path}.part`
    const fd = openSync(part, "w")
    try {
      writeAll(fd, header, 0)
      for (const tensor of tensors) {
        if (this.#tensors.get(tensor.name)?.data === undefined && !options.sparse)
          writeZeros(fd, tensor.bytes, tensor.offset)
        this.#pieces(tensor, (piece, offset) => writeAll(fd, piece, offset))
      }
      ftruncateSync(fd, size)
      renameSync(part, path)
    } catch (error) {
      rmSync(part, { force: true })
      throw error
    } finally {
      closeSync(fd)
    }
  }

  #addKey(key: string, value: ByteBuffer): this {
    if (key === "" || this.#keys.has(key))
      throw new GgufError(`Cannot write key ${show(key)}: its name is empty or taken`)
    this.#keys.set(key, value.take())
    return this
  }

  #setAlignment(value: ScalarValue): void {
    if (typeof value !== "number" || value < 1 || !Number.isInteger(Math.log2(value)))
      throw new GgufError(`Cannot write an alignment of ${value}: it is no power of two`)
    this.#alignment = value
  }

  #header(directory: ByteBuffer): Uint8Array {
    const out = new ByteBuffer()
    out.bytes(new TextEncoder().encode("GGUF"))
    out.u32(3)
    out.u64(this.#tensors.size)
    out.u64(this.#keys.size)
    for (const [key, value] of this.#keys) {
      out.string(key)
      out.bytes(value)
    }
    out.bytes(directory.take())
    out.pad(this.#alignment)
    return out.take()
  }

  #pieces(tensor: TensorInfo, put: (piece: Uint8Array, offset: number) => void): void {
    const data = this.#tensors.get(tensor.name)?.data
    if (data === undefined) return
    let written = 0
    for (const piece of data instanceof Uint8Array ? [data] : data()) {
      if (written + piece.byteLength > tensor.bytes)
        throw wrongLength(tensor.name, written + piece.byteLength, tensor.bytes)
      put(piece, tensor.offset + written)
      written += piece.byteLength
    }
    if (written !== tensor.bytes) throw wrongLength(tensor.name, written, tensor.bytes)
  }
}

function wrongLength(name: string, found: number, expected: number): GgufError {
  return new GgufError(`Cannot write tensor ${show(name)}: ${found} bytes, expected ${expected}`)
}

function writeAll(fd: number, bytes: Uint8Array, offset: number): void {
  for (let done = 0; done < bytes.byteLength;)
    done += writeSync(fd, bytes, done, bytes.byteLength - done, offset + done)
}

function writeZeros(fd: number, bytes: number, offset: number): void {
  const zeros = new Uint8Array(Math.min(bytes, 1024 * 1024))
  for (let done = 0; done < bytes; done += zeros.byteLength)
    writeAll(fd, zeros.subarray(0, Math.min(zeros.byteLength, bytes - done)), offset + done)
}

const INTEGER_RANGES: Partial<Record<ScalarType, [number, number]>> = {
  u8: [0, 255],
  i8: [-128, 127],
  u16: [0, 65_535],
  i16: [-32_768, 32_767],
  u32: [0, 0xffff_ffff],
  i32: [-0x8000_0000, 0x7fff_ffff],
}

function writeScalar(out: ByteBuffer, key: string, type: ScalarType, value: ScalarValue): void {
  const range = INTEGER_RANGES[type]
  const wrong = () => new GgufError(`Cannot write key ${show(key)}: ${value} is no ${type}`)
  if (type === "str") {
    if (typeof value !== "string") throw wrong()
    out.string(value)
  } else if (type === "bool") {
    if (typeof value !== "boolean") throw wrong()
    out.number("u8", value ? 1 : 0)
  } else if (type === "u64" || type === "i64") {
    if (typeof value !== "bigint" && !Number.isSafeInteger(value)) throw wrong()
    const big = BigInt(value as number | bigint)
    const wrapped = type === "u64" ? BigInt.asUintN(64, big) : BigInt.asIntN(64, big)
    if (wrapped !== big) throw wrong()
    out.number(type, big)
  } else {
    if (typeof value !== "number") throw wrong()
    if (range && !(Number.isInteger(value) && value >= range[0] && value <= range[1])) throw wrong()
    out.number(type, value)
  }
}

/** Bytes that grow; little endian. */
class ByteBuffer {
  #bytes = new Uint8Array(64)
  #view = new DataView(this.#bytes.buffer)
  #length = 0

  take(): Uint8Array {
    return this.#bytes.subarray(0, this.#length)
  }

  bytes(piece: Uint8Array): void {
    this.#grow(piece.byteLength)
    this.#bytes.set(piece, this.#length)
    this.#length += piece.byteLength
  }

  u32(value: number): void {
    this.number("u32", value)
  }

  u64(value: number): void {
    this.number("u64", BigInt(value))
  }

  string(text: string): void {
    const utf8 = new TextEncoder().encode(text)
    this.u64(utf8.byteLength)
    this.bytes(utf8)
  }

  pad(alignment: number): void {
    this.bytes(new Uint8Array(alignUp(this.#length, alignment) - this.#length))
  }

  number(type: Exclude<ScalarType, "str" | "bool">, value: number | bigint): void {
    const size = VALUE_BYTES[type]
    this.#grow(size)
    const at = this.#length
    this.#length += size
    if (type === "u64") this.#view.setBigUint64(at, BigInt(value), true)
    else if (type === "i64") this.#view.setBigInt64(at, BigInt(value), true)
    else if (type === "f32") this.#view.setFloat32(at, Number(value), true)
    else if (type === "f64") this.#view.setFloat64(at, Number(value), true)
    else if (size === 4) this.#view.setInt32(at, Number(value), true)
    else if (size === 2) this.#view.setInt16(at, Number(value), true)
    else this.#view.setInt8(at, Number(value))
  }

  #grow(more: number): void {
    if (this.#length + more <= this.#bytes.byteLength) return
    const size = Math.max(this.#length + more, this.#bytes.byteLength * 2)
    const bytes = new Uint8Array(size)
    bytes.set(this.#bytes)
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer)
  }
}
