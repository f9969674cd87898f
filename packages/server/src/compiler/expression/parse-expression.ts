/** A value of an entity file: operators, a few functions, literals and references; nothing of it reaches SQL as it was written. */
export type Expression =
  | { kind: 'text'; text: string }
  | { kind: 'number'; digits: string }
  | { kind: 'constant'; name: 'true' | 'false' | 'null' }
  | { kind: 'interval'; text: string }
  | { kind: 'reference'; root: string; path: string[] }
  | { kind: 'column'; name: string }
  | { kind: 'call'; name: string; args: Expression[] }
  | { kind: 'unary'; operator: '-' | 'not'; operand: Expression }
  | { kind: 'binary'; operator: BinaryOperator; left: Expression; right: Expression }
  | { kind: 'is'; operand: Expression; test: 'null' | 'true' | 'false'; isNegated: boolean }
  | { kind: 'in'; operand: Expression; items: Expression[]; isNegated: boolean }

export type BinaryOperator = 'or' | 'and' | '=' | '<>' | '<' | '<=' | '>' | '>=' | '||' | '+' | '-' | '*' | '/' | '%'

/** What is wrong with an expression, and at which character of it, from 1. */
export class ExpressionError extends Error {
  readonly column: number

  constructor(column: number, message: string) {
    super(message)
    this.column = column
  }
}

interface Token {
  kind: 'text' | 'number' | 'name' | 'reference' | 'sign' | 'end'
  text: string
  column: number
}

const TOKEN =
  /('(?:[^']|'')*')|((?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)|(\$[a-z][a-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*)|([A-Za-z_][A-Za-z0-9_]*)|(\|\||<=|>=|<>|!=|[=<>+\-*/%(),])/y
const BLANKS = /\s*/y
/** The kinds of the groups of TOKEN, in their order. */
const GROUPS = ['text', 'number', 'reference', 'name', 'sign'] as const
const MAX_CHARACTERS = 10_000
const MAX_DEPTH = 50
/** Each operator is one more bracket in what is written, and PostgreSQL's stack is bounded. */
const MAX_TOKENS = 1_000
/** Weakest first; each row binds the same and to the left. */
const LEVELS: readonly (readonly BinaryOperator[])[] = [['||'], ['+', '-'], ['*', '/', '%']]
const COMPARISONS: readonly BinaryOperator[] = ['=', '<>', '<', '<=', '>', '>=']
/** Words that are never names of fields here. */
const KEYWORDS = new Set(['or', 'and', 'not', 'is', 'in', 'null', 'true', 'false', 'interval', 'set', 'where'])

function tokenize(text: string): Token[] {
  if (text.length > MAX_CHARACTERS)
    throw new ExpressionError(1, `is ${text.length} characters long; at most ${MAX_CHARACTERS}`)
  const tokens: Token[] = []
  let at = 0
  for (;;) {
    BLANKS.lastIndex = at
    at += BLANKS.exec(text)?.[0].length ?? 0
    if (at === text.length) break
    TOKEN.lastIndex = at
    const match = TOKEN.exec(text)
    const kind = GROUPS[match === null ? -1 : match.findIndex((group, index) => index > 0 && group !== undefined) - 1]
    if (match === null || kind === undefined) throw new ExpressionError(at + 1, explainSign(text.slice(at)))
    if (tokens.length === MAX_TOKENS) throw new ExpressionError(at + 1, `has more than ${MAX_TOKENS} words and signs`)
    tokens.push({ kind, text: match[0], column: at + 1 })
    at += match[0].length
  }
  return [...tokens, { kind: 'end', text: 'the end', column: text.length + 1 }]
}

function explainSign(rest: string): string {
  const sign = JSON.stringify(rest.slice(0, 1))
  if (rest.startsWith("'")) return "a text begins here and does not end: a quote within it is written ''"
  if (rest.startsWith('"')) return `${sign} has no meaning: texts stand between single quotes, names without quotes`
  if (rest.startsWith('$'))
    return 'a reference is $NAME or $NAME.FIELD in lower-case letters, digits and "_"; in input a text that begins with $ is written $$'
  return `${sign} has no meaning in an expression`
}

/** One expression; throws ExpressionError. */
export function parseExpression(text: string): Expression {
  const parser = new Parser(tokenize(text))
  const expression = parser.expression()
  parser.expectEnd()
  return expression
}

export interface UpdateClause {
  entity: string
  assignments: { field: string; value: Expression }[]
  where: Expression
}

/** `Order SET status = 'paid' WHERE id = $order.id`; throws ExpressionError. */
export function parseUpdate(text: string): UpdateClause {
  const parser = new Parser(tokenize(text))
  const entity = parser.name('the name of an entity')
  parser.expectWord('set')
  const assignments: UpdateClause['assignments'] = []
  do {
    const field = parser.name('the name of a field')
    parser.expectSign('=')
    assignments.push({ field, value: parser.expression() })
  } while (parser.takeSign(','))
  parser.expectWord('where', 'an update needs WHERE, or it would change every row')
  const where = parser.expression()
  parser.expectEnd()
  return { entity, assignments, where }
}

class Parser {
  readonly #tokens: readonly Token[]
  #at = 0
  #depth = 0

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens
  }

  expression(): Expression {
    if (++this.#depth > MAX_DEPTH) throw this.#error(`nested more than ${MAX_DEPTH} levels deep`)
    let left = this.#conjunction()
    while (this.#takeWord('or')) left = { kind: 'binary', operator: 'or', left, right: this.#conjunction() }
    this.#depth--
    return left
  }

  name(what: string): string {
    const token = this.#peek()
    if (token.kind !== 'name' || KEYWORDS.has(token.text.toLowerCase()))
      throw this.#error(`expected ${what}, found ${shown(token)}`)
    this.#at++
    return token.text
  }

  expectWord(word: string, message = `expected ${word.toUpperCase()}, found ${shown(this.#peek())}`): void {
    if (!this.#takeWord(word)) throw this.#error(message)
  }

  expectSign(sign: string): void {
    if (!this.takeSign(sign)) throw this.#error(`expected ${sign}, found ${shown(this.#peek())}`)
  }

  expectEnd(): void {
    const token = this.#peek()
    if (token.kind !== 'end') throw this.#error(`expected the end of the expression, found ${shown(token)}`)
  }

  takeSign(sign: string): boolean {
    const token = this.#peek()
    if (token.kind !== 'sign' || token.text !== sign) return false
    this.#at++
    return true
  }

  #conjunction(): Expression {
    let left = this.#negation()
    while (this.#takeWord('and')) left = { kind: 'binary', operator: 'and', left, right: this.#negation() }
    return left
  }

  #negation(): Expression {
    let isNegated = false
    let isFound = false
    while (this.#takeWord('not')) [isNegated, isFound] = [!isNegated, true]
    const operand = this.#comparison()
    if (isNegated) return { kind: 'unary', operator: 'not', operand }
    // Two of them leave the value, but only of a condition.
    return isFound ? { kind: 'is', operand, test: 'true', isNegated: false } : operand
  }

  #comparison(): Expression {
    const left = this.#binary(0)
    const operator = this.#takeOperator(COMPARISONS)
    if (operator !== null) return { kind: 'binary', operator, left, right: this.#binary(0) }
    if (this.#takeWord('is')) {
      const isNegated = this.#takeWord('not')
      const test = (['null', 'true', 'false'] as const).find((word) => this.#takeWord(word))
      if (test === undefined) throw this.#error(`expected NULL, TRUE or FALSE after IS, found ${shown(this.#peek())}`)
      return { kind: 'is', operand: left, test, isNegated }
    }
    const isNegated = this.#takeWord('not')
    if (this.#takeWord('in')) {
      this.expectSign('(')
      return { kind: 'in', operand: left, items: this.#list(), isNegated }
    }
    if (isNegated) throw this.#error(`expected IN after NOT, found ${shown(this.#peek())}`)
    return left
  }

  #binary(level: number): Expression {
    const operators = LEVELS[level]
    if (operators === undefined) return this.#unary()
    let left = this.#binary(level + 1)
    for (;;) {
      const operator = this.#takeOperator(operators)
      if (operator === null) return left
      left = { kind: 'binary', operator, left, right: this.#binary(level + 1) }
    }
  }

  #unary(): Expression {
    if (!this.takeSign('-')) return this.#primary()
    if (++this.#depth > MAX_DEPTH) throw this.#error(`nested more than ${MAX_DEPTH} levels deep`)
    const operand = this.#unary()
    this.#depth--
    return { kind: 'unary', operator: '-', operand }
  }

  #primary(): Expression {
    const token = this.#peek()
    if (this.takeSign('(')) {
      const inner = this.expression()
      this.expectSign(')')
      return inner
    }
    if (token.kind === 'end' || token.kind === 'sign') throw this.#error(`expected a value, found ${shown(token)}`)
    this.#at++
    if (token.kind === 'text') return { kind: 'text', text: unquote(token.text) }
    if (token.kind === 'number') return { kind: 'number', digits: token.text }
    if (token.kind === 'reference') {
      const [root = '', ...path] = token.text.slice(1).split('.')
      return { kind: 'reference', root, path }
    }
    return this.#word(token)
  }

  #word(token: Token): Expression {
    const word = token.text.toLowerCase()
    if (word === 'true' || word === 'false' || word === 'null') return { kind: 'constant', name: word }
    if (word === 'interval') {
      const text = this.#peek()
      if (text.kind !== 'text') throw this.#error(`expected a text after INTERVAL, found ${shown(text)}`)
      this.#at++
      return { kind: 'interval', text: unquote(text.text) }
    }
    if (KEYWORDS.has(word)) throw new ExpressionError(token.column, `expected a value, found ${shown(token)}`)
    return this.takeSign('(') ? { kind: 'call', name: word, args: this.#list() } : { kind: 'column', name: token.text }
  }

  /** After the opening bracket, to the closing one. */
  #list(): Expression[] {
    const items: Expression[] = []
    if (this.takeSign(')')) return items
    do items.push(this.expression())
    while (this.takeSign(','))
    this.expectSign(')')
    return items
  }

  #takeOperator(operators: readonly BinaryOperator[]): BinaryOperator | null {
    const token = this.#peek()
    const text = token.text === '!=' ? '<>' : token.text
    const operator = token.kind === 'sign' ? operators.find((each) => each === text) : undefined
    if (operator === undefined) return null
    this.#at++
    return operator
  }

  #takeWord(word: string): boolean {
    const token = this.#peek()
    if (token.kind !== 'name' || token.text.toLowerCase() !== word) return false
    this.#at++
    return true
  }

  #peek(): Token {
    return this.#tokens[this.#at] ?? { kind: 'end', text: 'the end', column: 1 }
  }

  #error(message: string): ExpressionError {
    return new ExpressionError(this.#peek().column, message)
  }
}

function shown(token: Token): string {
  return token.kind === 'end' ? 'the end' : JSON.stringify(token.text.slice(0, 40))
}

function unquote(text: string): string {
  return text.slice(1, -1).replaceAll("''", "'")
}
