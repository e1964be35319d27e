# Writing JSON: model files are read and checked by the library alone.

write_json(io::IO, x::AbstractString) = (print(io, '"'); escape_json(io, x); print(io, '"'))
write_json(io::IO, x::Symbol) = write_json(io, String(x))
write_json(io::IO, x::Integer) = print(io, x)
function write_json(io::IO, x::Real)
    isfinite(x) || throw(ArgumentError("a model's numbers have to be finite, found $x"))
    return print(io, Float64(x))
end
write_json(io::IO, x::Union{AbstractVector,Tuple}) = write_items(write_json, io, x, '[', ']')
write_json(io::IO, x::NamedTuple) = write_items(io, pairs(x), '{', '}') do io, (key, value)
    write_json(io, String(key))
    print(io, ':')
    write_json(io, value)
end

function write_items(write, io, items, open, close)
    print(io, open)
    for (k, item) in enumerate(items)
        k > 1 && print(io, ',')
        write(io, item)
    end
    return print(io, close)
end

function escape_json(io, x)
    for c in x
        if c == '"' || c == '\\'
            print(io, '\\', c)
        elseif c < ' '
            print(io, "\\u", string(UInt32(c); base = 16, pad = 4))
        else
            print(io, c)
        end
    end
end

json(x) = sprint(write_json, x)
