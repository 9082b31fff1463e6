import { GgufError } from "../errors.ts"
import { Cursor, LIMITS, show } from "./cursor.ts"
import { checkMagic } from "./foreign.ts"
import { lazyArray, Metadata } from "./metadata.ts"
import { alignUp, checkedAdd, checkedMul, ggmlTypeById, VALUE_BYTES } from "./types.ts"
import type { ByteSource, GgmlTypeInfo, GgufFile, GgufValue, TensorInfo } from "./types.ts"

// The fewest bytes that one key or one tensor can take in the header.
const MIN_KEY_BYTES = 8 + 1 + 4 + 1
const MIN_TENSOR_BYTES = 8 + 1 + 4 + 8 + 4 + 8
const DEFAULT_ALIGNMENT = 32

/** Reads and validates a file's header: container, keys, tensor directory. Nothing of the data is
 *  touched, nothing is allocated on a declared count alone, and afterwards every tensor is known to
 *  lie inside the file, aligned and apart from the others. Spec §2.1.
 *  @throws GgufError naming the key or tensor and the byte offset */
export function readGguf(source: ByteSource): GgufFile {
  const window = Math.min(source.size, LIMITS.headerBytes)
  const head = source.bytes(0, window)
  checkMagic(head, source.name)
  const cursor = new Cursor(head, source.size > window)
  cursor.skip(8, "the magic")
  const nTensors = cursor.count("The number of tensors", LIMITS.tensors, MIN_TENSOR_BYTES)
  const nKeys = cursor.count("The number of keys", LIMITS.keys, MIN_KEY_BYTES)
  const metadata = readMetadata(cursor, source, nKeys)
  const alignment = readAlignment(metadata)
  const declared = readDirectory(cursor, nTensors, source.size)
  const dataStart = alignUp(cursor.pos, alignment)
  const tensors = locate(declared, { dataStart, alignment, size: source.size })
  return { version: 3, alignment, metadata, tensors, dataStart, source }
}

function readMetadata(cursor: Cursor, source: ByteSource, nKeys: number): Metadata {
  const metadata = new Metadata()
  for (let i = 0; i < nKeys; i++) {
    const at = cursor.pos
    const key = cursor.string(`The name of key ${i} of ${nKeys}`, LIMITS.keyBytes)
    if (key === "") throw new GgufError(`Key ${i} of ${nKeys} has an empty name`, at)
    if (metadata.has(key)) throw new GgufError(`Key ${show(key)} appears twice`, at)
    metadata.set(key, readValue(cursor, source, key))
  }
  return metadata
}

function readValue(cursor: Cursor, source: ByteSource, key: string): GgufValue {
  const what = `Key ${show(key)}`
  const type = cursor.valueType(what)
  const offset = cursor.pos
  if (type === "arr") return readArray(cursor, source, key)
  if (type === "str") return { type, value: cursor.string(what, LIMITS.stringBytes), offset }
  return { type, value: cursor.scalar(type, what), offset } as GgufValue
}

function readArray(cursor: Cursor, source: ByteSource, key: string): GgufValue {
  const what = `Key ${show(key)}`
  const at = cursor.pos
  const elem = cursor.valueType(what)
  if (elem === "arr") throw new GgufError(`${what} is an array of arrays`, at)
  const least = elem === "str" ? 8 : VALUE_BYTES[elem]
  const count = cursor.count(`The length of key ${show(key)}`, LIMITS.arrayElements, least)
  const offset = cursor.pos
  if (elem === "str") cursor.skipStrings(count, what, LIMITS.stringBytes)
  else cursor.skip(count * least, what)
  return lazyArray(source, key, { elem, count, offset, bytes: cursor.pos - offset })
}

function readAlignment(metadata: Metadata): number {
  const alignment = metadata.maybeU32("general.alignment") ?? DEFAULT_ALIGNMENT
  if (alignment >= 1 && alignment <= LIMITS.alignment && Number.isInteger(Math.log2(alignment)))
    return alignment
  const state = `Key "general.alignment" is ${alignment}, a power of two is wanted`
  throw new GgufError(state, metadata.get("general.alignment")?.offset)
}

interface Declared {
  name: string
  type: GgmlTypeInfo
  dims: number[]
  /** Byte offset from the start of the data, as the file says. */
  relative: number
  bytes: number
  /** Where the directory speaks of it, for messages. */
  at: number
}

function readDirectory(cursor: Cursor, nTensors: number, fileSize: number): Declared[] {
  const seen = new Set<string>()
  const declared: Declared[] = []
  for (let i = 0; i < nTensors; i++) {
    const at = cursor.pos
    const name = cursor.string(`The name of tensor ${i} of ${nTensors}`, LIMITS.tensorNameBytes)
    if (name === "") throw new GgufError(`Tensor ${i} of ${nTensors} has an empty name`, at)
    if (seen.has(name)) throw new GgufError(`Tensor ${show(name)} appears twice`, at)
    seen.add(name)
    declared.push(readTensor(cursor, name, fileSize))
  }
  return declared
}

function readTensor(cursor: Cursor, name: string, fileSize: number): Declared {
  const what = `Tensor ${show(name)}`
  const at = cursor.pos
  const nDims = cursor.u32(`the number of dimensions of tensor ${show(name)}`)
  if (nDims < 1 || nDims > LIMITS.dims)
    throw new GgufError(`${what} has ${nDims} dimensions, 1 to ${LIMITS.dims} are possible`, at)
  const dims: number[] = []
  for (let i = 0; i < nDims; i++) {
    const from = cursor.pos
    dims.push(cursor.size(`Dimension ${i} of tensor ${show(name)}`, LIMITS.dimElements))
    if (dims[i] === 0) throw new GgufError(`${what} has the dimension 0`, from)
  }
  const typeAt = cursor.pos
  const id = cursor.u32(`the type of tensor ${show(name)}`)
  const type = ggmlTypeById(id)
  if (!type)
    throw new GgufError(`${what} is of ${unknownType(id)}, which ds4 does not read`, typeAt)
  const bytes = sizeInFile(what, type, dims, { fileSize, at })
  const relative = cursor.size(`The offset of tensor ${show(name)}`, Number.MAX_SAFE_INTEGER)
  return { name, type, dims, relative, bytes, at }
}

/** Bytes by type and shape; stops at the first product beyond the file, so nothing can wrap. */
function sizeInFile(
  what: string,
  type: GgmlTypeInfo,
  dims: readonly number[],
  file: { fileSize: number; at: number },
): number {
  const [row = 0, ...rest] = dims
  if (row % type.blockElems !== 0) {
    const state = `${what} has rows of ${row} elements`
    throw new GgufError(`${state}, but blocks of ${type.name} hold ${type.blockElems}`, file.at)
  }
  let bytes = checkedMul(row / type.blockElems, type.blockBytes)
  for (const n of rest) {
    if (bytes * n > Number.MAX_SAFE_INTEGER) bytes = Number.MAX_SAFE_INTEGER
    else bytes = checkedMul(bytes, n)
  }
  if (bytes <= file.fileSize) return bytes
  const state = `${what} is ${type.name} [${dims.join(", ")}], more than the file's`
  throw new GgufError(`${state} ${file.fileSize} bytes: it is cut off or damaged`, file.at)
}

/** Turns declared offsets into places in the file: aligned, inside, without overlap. */
function locate(
  declared: Declared[],
  file: { dataStart: number; alignment: number; size: number },
): Map<string, TensorInfo> {
  const tensors = new Map<string, TensorInfo>()
  for (const { name, type, dims, relative, bytes, at } of declared) {
    const what = `Tensor ${show(name)}`
    if (relative % file.alignment !== 0)
      throw new GgufError(`${what} is at ${relative}, no multiple of ${file.alignment}`, at)
    if (relative > file.size || relative + bytes > file.size - file.dataStart) {
      const end = relative + bytes + file.dataStart
      const state = `${what} would end at byte ${end}, but the file has ${file.size}`
      throw new GgufError(`${state}: it is cut off or damaged`, at)
    }
    const offset = checkedAdd(file.dataStart, relative)
    tensors.set(name, { name, type: type.name, dims, offset, bytes })
  }
  const byPlace = [...tensors.values()].sort((a, b) => a.offset - b.offset)
  byPlace.forEach((tensor, i) => {
    const before = byPlace[i - 1]
    if (before && before.offset + before.bytes > tensor.offset)
      throw new GgufError(
        `Tensors ${show(before.name)} and ${show(tensor.name)} overlap`,
        tensor.offset,
      )
  })
  return tensors
}

const UNREAD_TYPES: Readonly<Record<number, string>> = {
  2: "Q4_0",
  3: "Q4_1",
  6: "Q5_0",
  7: "Q5_1",
  9: "Q8_1",
  11: "Q3_K",
  13: "Q5_K",
  14: "Q6_K",
  15: "Q8_K",
  17: "IQ2_XS",
  18: "IQ3_XXS",
  19: "IQ1_S",
  20: "IQ4_NL",
  21: "IQ3_S",
  22: "IQ2_S",
  23: "IQ4_XS",
  24: "I8",
  25: "I16",
  27: "I64",
  28: "F64",
  29: "IQ1_M",
  34: "TQ1_0",
  35: "TQ2_0",
}

function unknownType(id: number): string {
  const name = UNREAD_TYPES[id]
  return name ? `type ${id} (${name})` : `the unknown type ${id}`
}
