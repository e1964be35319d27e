# Just enough of JSON to read the golden files where no package does.
function parse_json(text)
    value, rest = json_value(codeunits(text), 1)
    return value
end

function json_value(s, i)
    i = blank(s, i)
    c = Char(s[i])
    c == '{' && return json_items(s, i, '}', (v, s, i) -> begin
        key, i = json_value(s, i)
        v[key], i = json_value(s, blank(s, i) + 1)
        i
    end, Dict{String,Any}())
    c == '[' && return json_items(s, i, ']', (v, s, i) -> begin
        item, i = json_value(s, i)
        push!(v, item)
        i
    end, Any[])
    if c == '"'   # the golden files have no escapes
        stop = findnext(==(UInt8('"')), s, i + 1)
        return String(s[(i + 1):(stop - 1)]), stop + 1
    end
    stop = something(findnext(in(codeunits(",]} \n")), s, i), length(s) + 1)
    word = String(s[i:(stop - 1)])
    word in ("true", "false") && return word == "true", stop
    word == "null" && return nothing, stop
    whole = tryparse(Int, word)
    return whole === nothing ? parse(Float64, word) : whole, stop
end

function json_items(s, i, close, item!, found)
    i = blank(s, i + 1)
    while Char(s[i]) != close
        i = blank(s, item!(found, s, i))
        Char(s[i]) == ',' && (i = blank(s, i + 1))
    end
    return found, i + 1
end

blank(s, i) = (while s[i] in codeunits(" \n\r\t") i += 1 end; i)
