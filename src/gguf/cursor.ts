import { GgufError } from "../errors.ts"
import { VALUE_BYTES, VALUE_TYPES } from "./types.ts"
import type { ScalarType, ValueType } from "./types.ts"

/** Every limit of the reader. The real file has 60-odd keys, 1,328 tensors and a 7 MB header. */
export const LIMITS = {
  headerBytes: 256 * 1024 * 1024,
  keys: 4096,
  tensors: 65_536,
  keyBytes: 65_535,
  tensorNameBytes: 255,
  stringBytes: 16 * 1024 * 1024,
  arrayElements: 16 * 1024 * 1024,
  dims: 4,
  dimElements: 2 ** 32,
  alignment: 2 ** 30,
}

const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
const MAX_SAFE = BigInt(Number.MAX_SAFE_INTEGER)

/** Reads little-endian values from the head of a file and never past its end. `what` in every
 *  method names the thing being read, for the message. */
export class Cursor {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  /** Whether the file goes on after these bytes. */
  readonly #more: boolean
  pos = 0

  constructor(bytes: Uint8Array, more = false) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#more = more
  }

  get remaining(): number {
    return this.#bytes.byteLength - this.pos
  }

  u32(what: string): number {
    this.need(4, what)
    this.pos += 4
    return this.#view.getUint32(this.pos - 4, true)
  }

  /** A u64 as it is: a metadata value may use all 64 bits. */
  u64(what: string): bigint {
    this.need(8, what)
    this.pos += 8
    return this.#view.getBigUint64(this.pos - 8, true)
  }

  /** A u64 that counts or locates something: the one place where such a number is made. */
  size(what: string, limit: number): number {
    const at = this.pos
    const value = this.u64(what)
    if (value > MAX_SAFE || Number(value) > limit)
      throw new GgufError(`${what} is ${value}, at most ${limit} is possible`, at)
    return Number(value)
  }

  /** A count of things that take at least `minBytes` each, refused before anything is allocated
   *  if so many cannot be in the rest of the file. */
  count(what: string, limit: number, minBytes: number): number {
    const at = this.pos
    const n = this.size(what, limit)
    if (n * minBytes > this.remaining)
      throw this.#cut(`${what} is ${n}, but only ${this.remaining} bytes follow`, at)
    return n
  }

  /** The bytes of a length-prefixed string, as a view. */
  stringBytes(what: string, limit: number): Uint8Array {
    const at = this.pos
    const length = this.size(`The length of ${what}`, limit)
    if (length > this.remaining)
      throw this.#cut(`${what} is ${length} bytes long, but ${this.remaining} bytes follow`, at)
    this.pos += length
    return this.#bytes.subarray(this.pos - length, this.pos)
  }

  /** Steps over the strings of an array. The vocabulary has 257,021, so the usual short ones are
   *  read without a BigInt; any other goes to the checked reader, which says what is wrong. */
  skipStrings(count: number, what: string, limit: number): void {
    const end = this.#bytes.byteLength - 8
    for (let i = 0; i < count; i++) {
      const at = this.pos
      const length = at <= end ? this.#view.getUint32(at, true) : limit
      const short = length < limit && this.#view.getUint32(at + 4, true) === 0
      if (short && length <= end - at) this.pos = at + 8 + length
      else this.stringBytes(what, limit)
    }
  }

  string(what: string, limit: number): string {
    const at = this.pos
    try {
      return strictUtf8.decode(this.stringBytes(what, limit))
    } catch (error) {
      if (error instanceof GgufError) throw error
      throw new GgufError(`${what} is not valid UTF-8`, at)
    }
  }

  valueType(what: string): ValueType {
    const at = this.pos
    const id = this.u32(`the type of ${what}`)
    const type = VALUE_TYPES[id]
    if (!type) throw new GgufError(`${what} has the unknown value type ${id}`, at)
    return type
  }

  /** A number, bigint or boolean; strings have their own method. */
  scalar(type: Exclude<ScalarType, "str">, what: string): number | bigint | boolean {
    this.need(VALUE_BYTES[type], what)
    const at = this.pos
    this.pos += VALUE_BYTES[type]
    if (type !== "bool") return readNumber(this.#view, at, type)
    const byte = this.#view.getUint8(at)
    if (byte > 1) throw new GgufError(`${what} is the bool ${byte}, neither 0 nor 1`, at)
    return byte === 1
  }

  skip(bytes: number, what: string): void {
    this.need(bytes, what)
    this.pos += bytes
  }

  need(bytes: number, what: string): void {
    if (bytes <= this.remaining) return
    const state = `only ${this.remaining} of the ${bytes} bytes of ${what} are there`
    throw this.#cut(state, this.pos)
  }

  #cut(state: string, at: number): GgufError {
    if (this.#more)
      return new GgufError(`${state} within the first ${LIMITS.headerBytes} bytes`, at)
    return new GgufError(`${state}: the file is cut off or damaged`, at)
  }
}

type NumberType = Exclude<ScalarType, "str" | "bool">

/** A number at a checked place; 64-bit integers become numbers where they are exact. */
export function readNumber(view: DataView, at: number, type: NumberType): number | bigint {
  switch (type) {
    case "u8":
      return view.getUint8(at)
    case "i8":
      return view.getInt8(at)
    case "u16":
      return view.getUint16(at, true)
    case "i16":
      return view.getInt16(at, true)
    case "u32":
      return view.getUint32(at, true)
    case "i32":
      return view.getInt32(at, true)
    case "f32":
      return view.getFloat32(at, true)
    case "f64":
      return view.getFloat64(at, true)
    case "u64":
      return exact(view.getBigUint64(at, true))
    case "i64":
      return exact(view.getBigInt64(at, true))
  }
}

function exact(value: bigint): number | bigint {
  return value <= MAX_SAFE && value >= -MAX_SAFE ? Number(value) : value
}

/** A name from a file as it may be shown: quoted, invisible characters escaped, cut. */
export function show(name: string): string {
  const cut = name.length > 80 ? `${name.slice(0, 77)}...` : name
  const seen = cut.replace(/[\p{C}\p{Zl}\p{Zp}"\\]/gu, (c) => {
    const code = c.codePointAt(0) ?? 0
    return code === 34 || code === 92 ? `\\${c}` : `\\u{${code.toString(16)}}`
  })
  return `"${seen}"`
}
