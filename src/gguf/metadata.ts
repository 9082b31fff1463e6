import { GgufError } from "../errors.ts"
import { readNumber, show } from "./cursor.ts"
import type { ByteSource, GgufArray, GgufValue, ScalarType, ScalarValue } from "./types.ts"

/** The keys of a file with getters that say which key, what it is and what was wanted. Integers may
 *  be stored in any integer type and floats as f32, f64 or integers (spec §2.3); the value decides.
 *  The `maybe` forms give undefined where the key is absent, and throw where it is wrong. */
export class Metadata extends Map<string, GgufValue> {
  u32(key: string): number {
    return toInteger(key, this.#require(key, "a u32"), "a u32", 0, 0xffff_ffff)
  }

  maybeU32(key: string): number | undefined {
    return this.has(key) ? this.u32(key) : undefined
  }

  /** An integer up to 2^53 - 1. */
  u64(key: string): number {
    return toInteger(key, this.#require(key, "a u64"), "a u64", 0, Number.MAX_SAFE_INTEGER)
  }

  maybeU64(key: string): number | undefined {
    return this.has(key) ? this.u64(key) : undefined
  }

  f32(key: string): number {
    return toFloat(key, this.#require(key, "an f32"))
  }

  maybeF32(key: string): number | undefined {
    return this.has(key) ? this.f32(key) : undefined
  }

  str(key: string): string {
    const found = this.#require(key, "a str")
    if (found.type !== "str") throw wrongType(key, found, "a str")
    return found.value
  }

  maybeStr(key: string): string | undefined {
    return this.has(key) ? this.str(key) : undefined
  }

  bool(key: string): boolean {
    const found = this.#require(key, "a bool")
    if (found.type !== "bool") throw wrongType(key, found, "a bool")
    return found.value
  }

  maybeBool(key: string): boolean | undefined {
    return this.has(key) ? this.bool(key) : undefined
  }

  arrU32(key: string): number[] {
    return this.#integers(key, "an array of u32", 0, 0xffff_ffff)
  }

  maybeArrU32(key: string): number[] | undefined {
    return this.has(key) ? this.arrU32(key) : undefined
  }

  arrI32(key: string): number[] {
    return this.#integers(key, "an array of i32", -0x8000_0000, 0x7fff_ffff)
  }

  maybeArrI32(key: string): number[] | undefined {
    return this.has(key) ? this.arrI32(key) : undefined
  }

  arrF32(key: string): number[] {
    const array = this.#array(key, "an array of f32")
    if (array.elem === "str" || array.elem === "bool")
      throw wrongType(key, array, "an array of f32")
    return array.values().map((value, i) => finite(key, value as number, array.offset, i))
  }

  maybeArrF32(key: string): number[] | undefined {
    return this.has(key) ? this.arrF32(key) : undefined
  }

  arrStr(key: string): string[] {
    const array = this.#array(key, "an array of str")
    if (array.elem !== "str") throw wrongType(key, array, "an array of str")
    return array.values() as string[]
  }

  maybeArrStr(key: string): string[] | undefined {
    return this.has(key) ? this.arrStr(key) : undefined
  }

  #require(key: string, wanted: string): GgufValue {
    const found = this.get(key)
    if (!found) throw new GgufError(`Key ${show(key)} is missing, ${wanted} is wanted`)
    return found
  }

  #array(key: string, wanted: string): GgufArray {
    const found = this.#require(key, wanted)
    if (found.type !== "arr") throw wrongType(key, found, wanted)
    return found
  }

  #integers(key: string, wanted: string, min: number, max: number): number[] {
    const array = this.#array(key, wanted)
    if (!INTEGERS.has(array.elem)) throw wrongType(key, array, wanted)
    const values = array.values()
    if (wanted.endsWith(array.elem)) return values as number[]
    return values.map((value, i) => {
      if (typeof value === "number" && value >= min && value <= max) return value
      throw new GgufError(
        `Key ${show(key)} has ${value} at ${i}, ${wanted} is wanted`,
        array.offset,
      )
    })
  }
}

const INTEGERS: ReadonlySet<string> = new Set([
  "u8",
  "i8",
  "u16",
  "i16",
  "u32",
  "i32",
  "u64",
  "i64",
])

function typeName(value: GgufValue): string {
  return value.type === "arr" ? `arr[${value.elem}]` : value.type
}

function wrongType(key: string, found: GgufValue, wanted: string): GgufError {
  const at = found.offset
  return new GgufError(`Key ${show(key)} is of type ${typeName(found)}, ${wanted} is wanted`, at)
}

function toInteger(key: string, found: GgufValue, wanted: string, min: number, max: number) {
  if (!INTEGERS.has(found.type)) throw wrongType(key, found, wanted)
  const { value } = found as { value: number | bigint }
  if (typeof value === "number" && value >= min && value <= max) return value
  throw new GgufError(`Key ${show(key)} is ${value}, ${wanted} is wanted`, found.offset)
}

function toFloat(key: string, found: GgufValue): number {
  const isFloat = found.type === "f32" || found.type === "f64"
  if (!isFloat && !INTEGERS.has(found.type)) throw wrongType(key, found, "an f32")
  return finite(key, (found as { value: number | bigint }).value, found.offset)
}

function finite(key: string, value: number | bigint, offset: number, i?: number): number {
  if (Number.isFinite(Number(value))) return Number(value)
  const place = i === undefined ? "" : ` at ${i}`
  throw new GgufError(`Key ${show(key)} is ${value}${place}, a finite number is wanted`, offset)
}

const TYPED = {
  u8: Uint8Array,
  i8: Int8Array,
  u16: Uint16Array,
  i16: Int16Array,
  u32: Uint32Array,
  i32: Int32Array,
  f32: Float32Array,
  f64: Float64Array,
}

/** An array whose place has been checked by the reader; the bytes are fetched when asked for. */
export function lazyArray(
  source: ByteSource,
  key: string,
  at: { elem: ScalarType; count: number; offset: number; bytes: number },
): GgufArray {
  const { elem, count, offset, bytes } = at
  function values(): ScalarValue[] {
    const data = source.bytes(offset, bytes)
    if (elem === "str") return decodeStrings(data, count, key, offset)
    if (elem === "bool") return decodeBools(data, key, offset)
    if (elem === "u64" || elem === "i64") {
      const view = new DataView(data.buffer, data.byteOffset, data.byteLength)
      return Array.from({ length: count }, (_, i) => readNumber(view, i * 8, elem))
    }
    // A copy lies aligned, and both supported platforms are little endian as the file is. The array
    // method makes a plain array five times as fast as Array.from, which iterates.
    return Array.prototype.slice.call<ArrayLike<number>, [], number[]>(
      new TYPED[elem](data.slice().buffer),
    )
  }
  return { type: "arr", elem, count, offset, bytes, values }
}

const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

function decodeBools(data: Uint8Array, key: string, offset: number): boolean[] {
  const odd = data.findIndex((byte) => byte > 1)
  if (odd >= 0)
    throw new GgufError(`Key ${show(key)} has the bool ${data[odd]} at ${odd}`, offset + odd)
  return Array.from(data, (byte) => byte === 1)
}

// Eight NULs, as long as the length that they take the place of.
const SEPARATOR = "\0".repeat(8)

/** All strings of an array, `count` times u64 length + bytes, whose lengths have been checked. In a
 *  copy the lengths give way to NULs; then one decoding and one split make all the strings, several
 *  times as fast as a decoder call for each. */
function decodeStrings(data: Uint8Array, count: number, key: string, offset: number): string[] {
  const copy = data.slice()
  const view = new DataView(copy.buffer)
  for (let i = 0, at = 0; i < count; i++) {
    const length = view.getUint32(at, true)
    view.setFloat64(at, 0)
    at += 8 + length
  }
  let text: string
  try {
    text = strictUtf8.decode(copy)
  } catch {
    throw new GgufError(`Key ${show(key)} has a string that is not valid UTF-8`, offset)
  }
  const parts = text.split(SEPARATOR)
  parts.shift()
  // A string with a NUL of its own leaves one over, or makes one part more.
  if (parts.length === count && !parts.some((part) => part.includes("\0"))) return parts
  return decodeOneByOne(data, count)
}

function decodeOneByOne(data: Uint8Array, count: number): string[] {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  const out: string[] = []
  for (let at = 0; out.length < count;) {
    const from = at + 8
    at = from + view.getUint32(at, true)
    out.push(strictUtf8.decode(data.subarray(from, at)))
  }
  return out
}
