import { describe, expect, test } from "bun:test"
import { Editor, layOut } from "../../src/cli/editor.ts"
import { type Key, KeyReader } from "../../src/cli/keys.ts"

const names = (keys: readonly Key[]) => keys.map((k) => (k.type === "key" ? k.name : k.text))

describe("KeyReader", () => {
  test("reads keys, however the bytes are cut", () => {
    const typed =
      "ab\r\n\x1b\r\x1b[A\x1bOB\x1b[1;5C\x1b[3~\x1b[H\x1b[13;2u\x1b[27;2;13~\x03\x04\x1bb\x1b[200~x\r\ny\x1b[201~é"
    const wanted =
      "ab enter newline newline up down wordRight delete home newline newline interrupt endOfInput wordLeft"
    const whole = names(new KeyReader().push(typed))
    expect(whole).toEqual([...wanted.split(" "), "x\r\ny", "é"])
    const reader = new KeyReader()
    const single = [...typed].flatMap((c) => names(reader.push(c)))
    expect(single.join("|")).toBe(whole.join("|").replace("ab", "a|b"))
  })

  test("drops sequences it does not know, keeps what follows", () => {
    expect(names(new KeyReader().push("\x1b[24~\x1b[?1;2c\x1b[I\x00q"))).toEqual(["q"])
  })

  test("an ESC alone is a key once nothing follows", () => {
    const reader = new KeyReader()
    expect(reader.push("\x1b")).toEqual([])
    expect(reader.isWaiting).toBe(true)
    expect(names(reader.flush())).toEqual(["escape"])
    expect(names(reader.push("[A"))).toEqual(["[A"])
  })
})

describe("Editor", () => {
  const typed = (text: string, ...keys: Parameters<Editor["press"]>[0][]) => {
    const editor = new Editor()
    editor.insert(text)
    for (const key of keys) editor.press(key)
    return editor
  }
  const show = ({ text, cursor }: Editor) => `${text.slice(0, cursor)}|${text.slice(cursor)}`

  test("moves and deletes by graphemes and words", () => {
    expect(show(typed("naïve 👩‍👩‍👧", "left"))).toBe("naïve |👩‍👩‍👧")
    expect(show(typed("a👩‍👩‍👧", "backspace"))).toBe("a|")
    expect(show(typed("one two  three", "wordLeft", "wordLeft"))).toBe("one |two  three")
    expect(show(typed("one two", "deleteWordLeft", "home", "yank"))).toBe("two|one ")
    expect(show(typed("ab", "home", "delete", "end"))).toBe("b|")
  })

  test("keeps to its line where that is meant", () => {
    expect(show(typed("one\ntwo", "home"))).toBe("one\n|two")
    expect(show(typed("one\ntwo", "killToStart"))).toBe("one\n|")
    expect(show(typed("one\ntwo", "up", "killToEnd"))).toBe("one|\ntwo")
    expect(show(typed("one\ntwo three", "up", "down"))).toBe("one\ntwo| three")
  })

  test("history comes and goes beyond the first and last line, the draft stays", () => {
    const editor = new Editor(["old", "older\nlines"])
    editor.insert("draft")
    const seen = ["up", "up", "up", "up", "down", "down", "down"] as const
    const texts = seen.map((key) => (editor.press(key), editor.text))
    expect(texts).toEqual([
      "older\nlines",
      "older\nlines",
      "old",
      "old",
      "older\nlines",
      "draft",
      "draft",
    ])
  })

  test("a backslash or an open quote makes Enter a new line", () => {
    const editor = typed("one\\")
    expect(editor.isComplete).toBe(false)
    editor.continueLine()
    editor.insert("two")
    expect([editor.isComplete, editor.message]).toEqual([true, "one\ntwo"])
    const quoted = typed('"""a\\')
    expect(quoted.isComplete).toBe(false)
    quoted.continueLine()
    quoted.insert('b\n"""')
    expect([quoted.isComplete, quoted.message]).toEqual([true, "a\\\nb"])
  })

  test("what is pasted loses its control characters", () => {
    expect(typed("a\r\nb\x1b[31m\x07").text).toBe("a\nb[31m")
  })

  test("layOut() breaks rows at the width and knows where the cursor is", () => {
    expect(layOut("abcdef", 5, 2, 6)).toEqual({
      rows: ["abcd", "ef"],
      starts: [true, false],
      row: 1,
      column: 1,
    })
    expect(layOut("a\n漢字漢", 4, 2, 6)).toEqual({
      rows: ["a", "漢字", "漢"],
      starts: [true, true, false],
      row: 2,
      column: 0,
    })
    expect(layOut("", 0, 2, 6)).toEqual({ rows: [""], starts: [true], row: 0, column: 2 })
  })
})
