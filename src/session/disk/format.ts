/** Objects of the KV cache on disk: one file each, immutable. A page object holds the long part of 128
 *  tokens, a point object the resume point at the page's end (design D7). Whatever is wrong with a file,
 *  it is taken for absent: lengths, identity and checksum are looked at before anything is used.
 *
 *    0  magic "ds4-kv\r\n"        24  data bytes u64         80  parent's key, 16 bytes
 *    8  format u32                32  fingerprint, 32 bytes  96  tokens i32[128], pages only
 *   12  kind u32: 1 page, 2 point 64  key, 16 bytes              data
 *   16  depth u32                                                xxHash3 u64 of all before it
 *   20  number of tokens u32                                 (little-endian) */
import { PAGE_TOKENS } from "../../ops/kv-ops.ts"

/** Raise it when the layout changes, or the arithmetic that computes what is stored. */
export const FORMAT = 1

export type ObjectKind = "page" | "point"

/** What an object is. Keys and fingerprints are hexadecimal: 32 and 64 digits. */
export interface ObjectId {
  kind: ObjectKind
  fingerprint: string
  key: string
  /** Key of the page before it; the model's root key at the first. */
  parent: string
  /** Pages from the root, this one included. */
  depth: number
}

export interface DiskObject extends ObjectId {
  /** The page's tokens; empty for a point. */
  tokens: Int32Array
  /** A view of the file's bytes. */
  data: Uint8Array
}

const MAGIC = new TextEncoder().encode("ds4-kv\r\n")
const KINDS: readonly ObjectKind[] = ["page", "point"]
const HEADER_BYTES = 96
const CHECKSUM_BYTES = 8

/** Hexadecimal digits of a key. */
export const KEY_DIGITS = 32
/** Hexadecimal digits of a fingerprint that name its folder. */
export const FOLDER_DIGITS = 16

/** The key above a model's first pages; its folder's name is enough to know it. */
export const rootKey = (fingerprint: string): string =>
  fingerprint.slice(0, FOLDER_DIGITS).padEnd(KEY_DIGITS, "0")

/** The key of a page: what comes before it, and its tokens. */
export function pageKey(parent: string, tokens: Int32Array): string {
  const hash = new Bun.CryptoHasher("sha256")
  hash.update("ds4 page\n").update(parent)
  hash.update(new Uint8Array(tokens.buffer, tokens.byteOffset, tokens.byteLength))
  return hash.digest("hex").slice(0, KEY_DIGITS)
}

const tokensOf = (kind: ObjectKind): number => (kind === "page" ? PAGE_TOKENS : 0)

/** Bytes of the file of an object with so many bytes of data. */
export const objectBytes = (kind: ObjectKind, dataBytes: number): number =>
  HEADER_BYTES + 4 * tokensOf(kind) + dataBytes + CHECKSUM_BYTES

/** The file of an object; `fill` writes its data where they belong, so that they are copied once. */
export function encodeObject(
  id: ObjectId,
  tokens: Int32Array,
  dataBytes: number,
  fill: (into: Uint8Array) => void,
): Uint8Array {
  const bytes = new Uint8Array(objectBytes(id.kind, dataBytes))
  const view = new DataView(bytes.buffer)
  bytes.set(MAGIC, 0)
  view.setUint32(8, FORMAT, true)
  view.setUint32(12, KINDS.indexOf(id.kind) + 1, true)
  view.setUint32(16, id.depth, true)
  view.setUint32(20, tokens.length, true)
  view.setBigUint64(24, BigInt(dataBytes), true)
  bytes.set(Uint8Array.fromHex(id.fingerprint), 32)
  bytes.set(Uint8Array.fromHex(id.key), 64)
  bytes.set(Uint8Array.fromHex(id.parent), 80)
  tokens.forEach((token, i) => view.setInt32(HEADER_BYTES + 4 * i, token, true))
  const dataAt = HEADER_BYTES + 4 * tokens.length
  fill(bytes.subarray(dataAt, dataAt + dataBytes))
  const end = bytes.length - CHECKSUM_BYTES
  view.setBigUint64(end, Bun.hash.xxHash3(bytes.subarray(0, end)), true)
  return bytes
}

/** Reads a whole file. Returns the object, or in words what is wrong with it. */
export function decodeObject(bytes: Uint8Array): DiskObject | string {
  if (bytes.length < HEADER_BYTES + CHECKSUM_BYTES) return `cut off after ${bytes.length} bytes`
  if (MAGIC.some((b, i) => bytes[i] !== b)) return "not a file of the KV cache"
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const format = view.getUint32(8, true)
  if (format !== FORMAT) return `format ${format}, expected ${FORMAT}`
  const end = bytes.length - CHECKSUM_BYTES
  const kind = KINDS[view.getUint32(12, true) - 1]
  const dataBytes = Number(view.getBigUint64(24, true))
  const nTokens = view.getUint32(20, true)
  if (!kind || nTokens !== tokensOf(kind)) return "a header that makes no sense"
  if (bytes.length !== objectBytes(kind, dataBytes))
    return `${bytes.length} bytes, expected ${objectBytes(kind, dataBytes)}`
  if (view.getBigUint64(end, true) !== Bun.hash.xxHash3(bytes.subarray(0, end)))
    return "its checksum does not match"
  const hex = (from: number, to: number) => bytes.subarray(from, to).toHex()
  const object: DiskObject = {
    kind,
    fingerprint: hex(32, 64),
    key: hex(64, 80),
    parent: hex(80, 96),
    depth: view.getUint32(16, true),
    tokens: Int32Array.from({ length: nTokens }, (_, i) =>
      view.getInt32(HEADER_BYTES + 4 * i, true),
    ),
    data: bytes.subarray(HEADER_BYTES + 4 * nTokens, end),
  }
  if (kind === "page" && pageKey(object.parent, object.tokens) !== object.key)
    return "its key is not that of its tokens"
  return object
}

/** Whether an object is the one that was looked for. */
export const isObject = (object: ObjectId, id: ObjectId): boolean =>
  object.kind === id.kind &&
  object.fingerprint === id.fingerprint &&
  object.key === id.key &&
  object.parent === id.parent &&
  object.depth === id.depth
