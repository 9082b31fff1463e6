/** Telling a file of another converter from a damaged one: the same thing stands there under another
 *  name, so the message says which. */

/** The name among `names` that shares most words with `wanted`, if it shares any beyond the first
 *  (the architecture, or the layer's "blk"). */
export function nearestName(wanted: string, names: Iterable<string>): string | undefined {
  const words = wordsOf(wanted)
  let best: string | undefined
  let bestScore = 0
  for (const name of names) {
    const other = wordsOf(name)
    const shared = words.filter((word) => other.includes(word)).length
    const score = shared / (words.length + other.length - shared)
    if (shared > 0 && score > bestScore) [best, bestScore] = [name, score]
  }
  return best
}

/** What to say of a name that is missing while a foreign one stands in its place; "" if none does. */
export function foreignHint(wanted: string, names: Iterable<string>): string {
  const found = nearestName(wanted, names)
  if (found === undefined) return ""
  return `; the file has "${found}" instead, so it seems to come from another converter`
}

const wordsOf = (name: string) => name.split(/[._]/).slice(1).filter(isWord)
const isWord = (word: string) => word !== "" && word !== "weight" && !/^\d+$/.test(word)
