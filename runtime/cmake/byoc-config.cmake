# find_package(byoc): run compiled models (byoc/session.h) and write vendors (byoc/vendor.h).
#
#   cmake -Dbyoc_DIR=$(byoc config --cmake-dir) ...
#
#   byoc::runtime   libbyoc_runtime with the C and C++ API of byoc/session.h; no Python needed
#   byoc::vendor    headers for a vendor's library (byoc/vendor.h), with libtvm_ffi
#   byoc::threads   libbyoc_threads: the threads of the CPU (byoc/threads.h), for vendors that compute there
#
# Everything is found from where this file lies, so the folder may be moved as a whole:
#
#   <root>/byoc/lib/cmake/byoc/byoc-config.cmake     <root>/byoc/include/byoc/session.h
#   <root>/byoc/lib/libbyoc_runtime.so               <root>/tvm_ffi/lib/libtvm_ffi.so

get_filename_component(_byoc "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
get_filename_component(_byoc_root "${_byoc}/.." ABSOLUTE)

# tvm-ffi: of the same environment, or copied beside our library.
find_library(byoc_TVM_FFI_LIBRARY tvm_ffi
  PATHS "${_byoc_root}/tvm_ffi/lib" "${_byoc}/lib" NO_DEFAULT_PATH)
find_path(byoc_TVM_FFI_INCLUDE tvm/ffi/function.h
  PATHS "${_byoc_root}/tvm_ffi/include" NO_DEFAULT_PATH)
mark_as_advanced(byoc_TVM_FFI_LIBRARY byoc_TVM_FFI_INCLUDE)

set(byoc_INCLUDE_DIR "${_byoc}/include")
set(byoc_LIBRARY "${_byoc}/lib/libbyoc_runtime.so")
set(_byoc_missing "")
set(byoc_THREADS "${_byoc}/lib/libbyoc_threads.so")
foreach(_byoc_file "${byoc_LIBRARY}" "${byoc_THREADS}" "${byoc_INCLUDE_DIR}/byoc/session.h")
  if(NOT EXISTS "${_byoc_file}")
    string(APPEND _byoc_missing " ${_byoc_file} is missing.")
  endif()
endforeach()
if(NOT byoc_TVM_FFI_LIBRARY)
  string(APPEND _byoc_missing " libtvm_ffi.so is missing (pip install apache-tvm-ffi;"
         " searched: ${_byoc_root}/tvm_ffi/lib, ${_byoc}/lib).")
endif()
if(_byoc_missing)
  set(byoc_FOUND FALSE)
  set(byoc_NOT_FOUND_MESSAGE "byoc is not whole:${_byoc_missing}")
  return()
endif()

if(NOT TARGET byoc::threads)
  add_library(byoc::threads SHARED IMPORTED)
  set_target_properties(byoc::threads PROPERTIES
    IMPORTED_LOCATION "${byoc_THREADS}"
    IMPORTED_SONAME libbyoc_threads.so
    INTERFACE_INCLUDE_DIRECTORIES "${byoc_INCLUDE_DIR}")
endif()

if(NOT TARGET byoc::runtime)
  add_library(byoc::runtime SHARED IMPORTED)
  set_target_properties(byoc::runtime PROPERTIES
    IMPORTED_LOCATION "${byoc_LIBRARY}"
    IMPORTED_SONAME libbyoc_runtime.so
    IMPORTED_LINK_DEPENDENT_LIBRARIES "${byoc_TVM_FFI_LIBRARY};${byoc_THREADS}"
    INTERFACE_INCLUDE_DIRECTORIES "${byoc_INCLUDE_DIR}")
endif()

if(byoc_TVM_FFI_INCLUDE AND NOT TARGET byoc::vendor)
  add_library(byoc::vendor INTERFACE IMPORTED)
  set_target_properties(byoc::vendor PROPERTIES
    INTERFACE_COMPILE_FEATURES cxx_std_17
    INTERFACE_INCLUDE_DIRECTORIES "${byoc_INCLUDE_DIR};${byoc_TVM_FFI_INCLUDE}"
    INTERFACE_LINK_LIBRARIES "${byoc_TVM_FFI_LIBRARY}")
endif()
