/** Byte-pair merging on token ids: again and again the adjacent pair of lowest rank, leftmost among
 *  equals, until none merges. Short pieces scan for the lowest; long ones keep the pairs in a heap
 *  over a linked list, n·log n, so that a piece of 200,000 letters takes no minutes. */

import type { MergeTable } from "./vocabulary.ts"

const SHORT = 32

/** Merges `ids` in place and cuts it to the length of the result. */
export function mergePairs(ids: number[], table: MergeTable): void {
  if (ids.length > SHORT) mergeLong(ids, table)
  else if (ids.length > 1) mergeShort(ids, table)
}

/** Ranks of the pairs of a short piece; kept, so that no piece allocates. */
const ranks = new Int32Array(SHORT)

function mergeShort(ids: number[], table: MergeTable): void {
  let n = ids.length
  for (let i = 0; i + 1 < n; i++) ranks[i] = table.rank(ids[i]!, ids[i + 1]!)
  for (;;) {
    let best = -1
    for (let i = 0; i + 1 < n; i++) {
      if (ranks[i]! >= 0 && (best < 0 || ranks[i]! < ranks[best]!)) best = i
    }
    if (best < 0) break
    ids[best] = table.merged(ranks[best]!)
    n--
    for (let i = best + 1; i < n; i++) {
      ids[i] = ids[i + 1]!
      ranks[i] = ranks[i + 1]!
    }
    if (best > 0) ranks[best - 1] = table.rank(ids[best - 1]!, ids[best]!)
    if (best + 1 < n) ranks[best] = table.rank(ids[best]!, ids[best + 1]!)
  }
  ids.length = n
}

/** A binary heap of numbers; the least comes out first. */
class MinHeap {
  readonly #keys: Float64Array
  #size = 0

  constructor(capacity: number) {
    this.#keys = new Float64Array(capacity)
  }

  push(key: number): void {
    const keys = this.#keys
    let i = this.#size++
    while (i > 0) {
      const parent = (i - 1) >> 1
      if (keys[parent]! <= key) break
      keys[i] = keys[parent]!
      i = parent
    }
    keys[i] = key
  }

  /** The least key, or -1 when empty. */
  pop(): number {
    if (this.#size === 0) return -1
    const keys = this.#keys
    const top = keys[0]!
    const last = keys[--this.#size]!
    let i = 0
    for (;;) {
      let child = 2 * i + 1
      if (child >= this.#size) break
      if (child + 1 < this.#size && keys[child + 1]! < keys[child]!) child++
      if (keys[child]! >= last) break
      keys[i] = keys[child]!
      i = child
    }
    keys[i] = last
    return top
  }
}

function mergeLong(ids: number[], table: MergeTable): void {
  const n = ids.length
  const next = new Int32Array(n)
  const prev = new Int32Array(n)
  // Each merge removes one pair and makes at most two: never more than 3n keys in all.
  const heap = new MinHeap(3 * n)
  // A key is rank·n + place, so that among equal ranks the leftmost comes out first. A key whose
  // pair has changed since is recognised because the rank there is another.
  const offer = (left: number): void => {
    const right = next[left]!
    if (right >= n) return
    const rank = table.rank(ids[left]!, ids[right]!)
    if (rank >= 0) heap.push(rank * n + left)
  }
  for (let i = 0; i < n; i++) {
    next[i] = i + 1
    prev[i] = i - 1
  }
  for (let i = 0; i + 1 < n; i++) offer(i)
  for (let key = heap.pop(); key >= 0; key = heap.pop()) {
    const left = key % n
    const rank = (key - left) / n
    const right = next[left]!
    if (ids[left]! < 0 || right >= n) continue
    if (table.rank(ids[left]!, ids[right]!) !== rank) continue
    ids[left] = table.merged(rank)
    ids[right] = -1
    const after = next[right]!
    next[left] = after
    if (after < n) prev[after] = left
    if (prev[left]! >= 0) offer(prev[left]!)
    offer(left)
  }
  let kept = 0
  for (let i = 0; i < n; i = next[i]!) ids[kept++] = ids[i]!
  ids.length = kept
}
