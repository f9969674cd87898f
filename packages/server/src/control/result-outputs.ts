import type { JobResult } from '@ergon/contract'
import { z } from 'zod'
import { JsonText } from '../platform/text/json-text.ts'

/**
 * The envelope's outputs from a row `j`: result_json is what a sandboxed program left as its result, and for every other
 * type all of the output but the streams, which have places of their own. A row may carry another execution type than the
 * registry, which was obeyed: then the output tells. In SQL, so that no result passes through a parser of ours.
 */
export const OUTPUT_COLUMNS = `
  case when jsonb_typeof(j.output_data) <> 'object' then j.output_data::text
       when j.execution_type = 'sandbox'
         or (j.output_data ?& array['result_json', 'stdout', 'stderr', 'artifacts']
             and (select count(*) from jsonb_object_keys(j.output_data)) = 4) then (j.output_data -> 'result_json')::text
       else (j.output_data - 'stdout' - 'stderr')::text end as result_text,
  case when jsonb_typeof(j.output_data -> 'stdout') = 'string' then j.output_data ->> 'stdout' end as stdout,
  case when jsonb_typeof(j.output_data -> 'stderr') = 'string' then j.output_data ->> 'stderr' end as stderr`

export const outputRowFields = {
  result_text: z.string().nullable(),
  stdout: z.string().nullable(),
  stderr: z.string().nullable(),
}

/** `result_json` is a JsonText, or null. */
export function toResultOutputs(row: z.infer<z.ZodObject<typeof outputRowFields>>): JobResult['outputs'] {
  const { result_text: text, stdout, stderr } = row
  return { result_json: text === null || text === 'null' ? null : new JsonText(text), stdout, stderr }
}
